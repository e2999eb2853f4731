"""Verdicts along trajectories, without their structures."""

from typing import Any

from ase import Atoms

from al_loop.ledger.frames import FrameLedger
from al_loop.records import GateCheck, Role, VerdictKind


class VerdictLedger(FrameLedger):
    """The gate's verdicts by round and trajectory."""

    def verdicts(self, round_: int, role: Role) -> list[tuple[str, int, VerdictKind]]:
        """Trajectory, MD step and verdict of every visit of a round, in the order of the visits."""
        found = self._collection(self._docs.visit).find(
            {"campaign": self.campaign, "round": round_, "role": role.value},
            {"trajectory": 1, "step": 1, "kind": 1},
        )
        return [
            (visit["trajectory"], int(visit["step"]), VerdictKind(visit["kind"])) for visit in found.sort("order", 1)
        ]

    def trajectories(self, round_: int, role: Role) -> list[str]:
        """Names of the trajectories of a round that have a frame."""
        query = {"campaign": self.campaign, "round": round_, "role": role.value}
        return sorted(self._collection(self._docs.visit).distinct("trajectory", query))

    def gate_scores(self, round_: int, role: Role) -> list[tuple[str, float, float | None]]:
        """Trajectory, largest latent distance and frame uncertainty (eV/Å) of a round's physical frames.

        They are ordered by trajectory and step; frames without a latent distance are left out.
        """
        found = self._collection(self._docs.visit).find(
            {
                "campaign": self.campaign,
                "round": round_,
                "role": role.value,
                "latent_distance": {"$type": "number"},
                "check": {"$ne": GateCheck.PHYSICS.value},
            },
            {"trajectory": 1, "step": 1, "latent_distance": 1, "frame_uncertainty_eV_per_A": 1},
        )
        rows = sorted(found, key=lambda visit: (visit["trajectory"], int(visit["step"])))
        return [
            (visit["trajectory"], float(visit["latent_distance"]), visit.get("frame_uncertainty_eV_per_A"))
            for visit in rows
        ]

    def farthest(self, round_: int, role: Role, count: int) -> list[Atoms]:
        """Physical frames of a round, those with the largest latent distance first, then by their ids."""
        found = self._collection(self._docs.visit).aggregate(
            [
                {
                    "$match": {
                        "campaign": self.campaign,
                        "round": round_,
                        "role": role.value,
                        "kind": {"$ne": VerdictKind.DISCARD.value},
                        "check": {"$ne": GateCheck.PHYSICS.value},
                    }
                },
                {"$group": {"_id": "$frame", "distance": {"$max": "$latent_distance"}}},
                {"$sort": {"distance": -1, "_id": 1}},
                {"$limit": count},
            ]
        )
        ids = [group["_id"] for group in found]
        structures = self.frames(ids)
        return [structures[frame_id] for frame_id in ids]

    def explored_ids(self, round_: int, after: int = 0) -> set[str]:
        """Ids of the frames that a round has explored, from a number of visits on."""
        found = self._collection(self._docs.visit).find(
            {"campaign": self.campaign, "round": round_, "role": Role.EXPLORE.value, "order": {"$gte": after}},
            {"frame": 1},
        )
        return {visit["frame"] for visit in found}

    def check_counts(self, round_: int, role: Role) -> dict[str, dict[str, int]]:
        """Check -> kind -> number of visits of a round with this verdict of the single check."""
        chosen: list[dict[str, Any]] = [
            {"$match": {"campaign": self.campaign, "round": round_, "role": role.value}},
            {"$project": {"checks": {"$objectToArray": {"$ifNull": ["$checks", {}]}}}},
            {"$unwind": "$checks"},
            {"$group": {"_id": {"check": "$checks.k", "kind": "$checks.v.kind"}, "count": {"$sum": 1}}},
        ]
        counts: dict[str, dict[str, int]] = {}
        for group in self._collection(self._docs.visit).aggregate(chosen):
            counts.setdefault(group["_id"]["check"], {})[group["_id"]["kind"]] = group["count"]
        order = (GateCheck.PHYSICS, GateCheck.FORCE_UNCERTAINTY, GateCheck.LATENT_DISTANCE)
        return {check.value: counts[check.value] for check in order if check.value in counts}

    def check_reasons(
        self, round_: int, role: Role, check: GateCheck, most: int = 1000
    ) -> list[tuple[VerdictKind, str, int]]:
        """Verdict, reason and count of the visits of a round that a check does not trust, the most frequent first."""
        found = self._collection(self._docs.visit).aggregate(
            [
                {"$match": {"campaign": self.campaign, "round": round_, "role": role.value}},
                {"$project": {"verdict": f"$checks.{check.value}"}},
                {"$match": {"verdict.kind": {"$in": [VerdictKind.SUSPECT.value, VerdictKind.DISCARD.value]}}},
                {"$group": {"_id": {"kind": "$verdict.kind", "reason": "$verdict.reason"}, "count": {"$sum": 1}}},
                {"$sort": {"count": -1, "_id.reason": 1}},
                {"$limit": most},
            ]
        )
        return [(VerdictKind(g["_id"]["kind"]), g["_id"].get("reason") or "", g["count"]) for g in found]

    def before_failure(self, round_: int) -> dict[str, Atoms]:
        """The last frame before the end of each exploring trajectory that was stopped in a round, by trajectory.

        One that was stopped at its start has none.
        """
        visits = self._collection(self._docs.visit).find(
            {"campaign": self.campaign, "round": round_, "role": Role.EXPLORE.value},
            {"trajectory": 1, "frame": 1, "kind": 1, "stop": 1},
        )
        stopped: set[str] = set()
        last: dict[str, str] = {}
        for visit in visits.sort("step", 1):
            if visit["stop"]:
                stopped.add(visit["trajectory"])
            elif visit["kind"] != VerdictKind.DISCARD.value:
                last[visit["trajectory"]] = visit["frame"]
        chosen = {trajectory: frame for trajectory, frame in last.items() if trajectory in stopped}
        frames = self.frames(chosen.values())
        return {trajectory: frames[frame] for trajectory, frame in chosen.items()}

    def verdict_counts(self, round_: int, role: Role | None = None) -> dict[str, dict[str, int]]:
        """GateCheck -> kind -> number of visits of a round."""
        chosen: dict[str, Any] = {"campaign": self.campaign, "round": round_}
        if role is not None:
            chosen["role"] = role.value
        grouped = self._collection(self._docs.visit).aggregate(
            [{"$match": chosen}, {"$group": {"_id": {"check": "$check", "kind": "$kind"}, "count": {"$sum": 1}}}]
        )
        counts: dict[str, dict[str, int]] = {}
        for group in sorted(grouped, key=lambda g: (g["_id"]["check"], g["_id"]["kind"])):
            counts.setdefault(group["_id"]["check"], {})[group["_id"]["kind"]] = group["count"]
        return counts
