import pytest
from ase.build import bulk, fcc111, molecule
from pydantic import TypeAdapter, ValidationError

from dft_interfaces.settings import EngineSettings, VASPSettings
from dft_interfaces.vasp_sets import NAMES, published_set


def settings(**given) -> VASPSettings:
    read = TypeAdapter(EngineSettings).validate_python({"engine": "vasp", **given})
    assert isinstance(read, VASPSettings)
    return read


@pytest.fixture
def no_variables(monkeypatch):
    for variable in ("VASP_PP_PATH", "PMG_VASP_PSP_DIR"):
        monkeypatch.delenv(variable, raising=False)


def test_everything_that_is_missing_is_named_with_what_to_do(no_variables):
    remedy = settings(command="srun-not-here -n 1 vasp_std-not-here").remedy()
    assert "srun-not-here is not on the PATH" in remedy
    assert "vasp_std-not-here is not on the PATH: VASP needs a licence" in remedy
    assert "potpaw_PBE.54" in remedy
    assert "VASP_PP_PATH" in remedy


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    assert "gone does not exist" in settings(command="true", potcars=tmp_path / "gone").remedy()


def test_a_scratch_folder_that_does_not_exist_is_named(tmp_path):
    remedy = settings(command="true", potcars=tmp_path, scratch=tmp_path / "gone").remedy()
    assert "the scratch folder" in remedy


def test_nothing_is_missing_where_all_is_there(tmp_path):
    program = tmp_path / "vasp_gam"
    program.touch(mode=0o755)
    assert settings(command=f"env {program}", potcars=tmp_path).remedy() is None


@pytest.mark.parametrize("variable", ["VASP_PP_PATH", "PMG_VASP_PSP_DIR"])
def test_the_folder_of_pseudopotentials_may_come_from_the_environment(no_variables, monkeypatch, tmp_path, variable):
    assert settings().potcar_folder is None
    monkeypatch.setenv(variable, str(tmp_path))
    assert settings().potcar_folder == tmp_path
    assert settings(potcars=tmp_path / "mine").potcar_folder == tmp_path / "mine"


@pytest.mark.parametrize("name", NAMES)
def test_a_cutoff_below_that_of_the_set_is_refused(name):
    lowest = published_set(name).incar["ENCUT"]
    with pytest.raises(ValidationError, match=f"at least the {lowest:g} eV of input set {name}"):
        settings(input_set=name, incar={"ENCUT": lowest - 1})
    assert settings(input_set=name, incar={"encut": lowest + 80}).inputs.incar["ENCUT"] == lowest + 80


@pytest.mark.parametrize("tag", ["NSW", "ibrion", "ISIF", "NELECT", "NUPDOWN", "KSPACING", "ICHARG"])
def test_tags_that_the_engine_sets_are_refused(tag):
    with pytest.raises(ValidationError, match=f"received {tag.upper()}, which cannot be set here"):
        settings(incar={tag: 1})


@pytest.mark.parametrize("given", [{}, {"incar": {"ENCUT": 500}}, {"kpoint_density_A": 20}])
def test_custom_needs_a_cutoff_and_a_mesh(given):
    with pytest.raises(ValidationError, match="ENCUT"):
        settings(input_set="custom", **given)


def test_cores_must_be_those_of_the_command():
    assert settings(command="mpirun -np 32 vasp_std", cores=32).cores == 32
    assert settings(command="vasp_std", cores=4).cores == 4
    with pytest.raises(ValidationError, match="set cores: 32"):
        settings(command="srun --ntasks=32 vasp_std", cores=1)


def test_an_empty_command_is_refused():
    with pytest.raises(ValidationError, match="command"):
        settings(command=" ")


def test_structures_that_are_not_periodic_are_objected_to():
    (objection,) = settings().objections(molecule("H2O", vacuum=4))
    assert (objection.about, "vacuum" in objection.text) == ("file", True)
    assert list(settings().objections(bulk("Cu"))) == []


def test_a_multiplicity_is_objected_to_where_the_set_has_no_spin():
    slab = fcc111("Ni", (1, 1, 3), vacuum=5, periodic=True)
    slab.info["spin"] = 3
    (objection,) = settings(input_set="oc20").objections(slab)
    assert objection.about == "spin_multiplicity"
    assert list(settings(input_set="oc20", incar={"ISPIN": 2}).objections(slab)) == []
    assert list(settings(input_set="omat").objections(slab)) == []


@pytest.mark.parametrize("name", ["omc", "oc20"])
def test_spin_starts_are_objected_to_where_the_set_has_no_spin(name):
    iron = bulk("Fe", cubic=True)
    (objection,) = settings(input_set=name, spin_starts=["ferromagnetic", "none"]).objections(iron)
    assert objection.about == "spin_starts"
    assert f"received [ferromagnetic, none], but input set {name} is not spin-polarised" in objection.text
    assert list(settings(input_set=name, spin_starts=["given"]).objections(iron)) == []
    polarised = settings(input_set=name, spin_starts=["ferromagnetic", "none"], incar={"ISPIN": 2})
    assert list(polarised.objections(iron)) == []


def test_a_given_start_beside_others_needs_moments():
    iron = bulk("Fe", cubic=True)
    iron.set_initial_magnetic_moments(None)
    (objection,) = settings(spin_starts=["given", "none"]).objections(iron)
    assert "remove given" in objection.text
    iron.set_initial_magnetic_moments([4.0, 4.0])
    assert list(settings(spin_starts=["given", "none"]).objections(iron)) == []


def test_own_pseudopotentials_and_mesh_take_the_place_of_the_sets():
    inputs = settings(potcar_names={"W": "W_pv"}, kpoint_density_A=25).inputs
    assert (inputs.potcar("W"), inputs.potcar("Fe"), inputs.potcar("He")) == ("W_pv", "Fe_pv", "He")
    assert inputs.kpoints == {"density_A": 25}
    assert published_set("omat").potcar("W") == "W_sv"


def test_settings_survive_the_way_to_another_process(tmp_path):
    before = settings(potcars=tmp_path, scratch=tmp_path, incar={"KPAR": 2, "LDAUU": {"Ni": 6.2}})
    assert settings(**before.model_dump(mode="json", exclude={"engine"})) == before
