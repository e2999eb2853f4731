"""The residual model: heads, latent distance, switching function, reference shifts, tangents."""
