"""Training: latent windows, checkpoints with exact resume, and the stages teacher, Diffusion Forcing, distillation."""
