"""Several pictures into one: blended, the best parts taken from each, sewn together, repaired.

Equations of the chapter `fusion`, by label: fusion-blend, fusion-linear, fusion-over,
fusion-premultiplied, fusion-down, fusion-up, fusion-laplacian, fusion-reconstruct,
fusion-pyramid-blend, fusion-sharpness, fusion-focus, fusion-weights, fusion-exposure,
fusion-energy, fusion-poisson, fusion-divergence, fusion-sine, fusion-eigenvalues, fusion-guidance,
fusion-saliency, fusion-attention, fusion-entropy, fusion-mutual-information, fusion-edge,
fusion-ssim, fusion-phase, fusion-homography, fusion-gain, fusion-feather, fusion-burst,
fusion-inpaint.

`blend` is about pixels, `pyramid` about sizes of detail, `stack` about several pictures of one
scene, `poisson` about differences, `network` about learned features, `metrics` about judging,
`panorama` about pictures side by side, `repair` about noise and holes. The sources stand in each.
"""

from course_lib.fusion.blend import (
    alpha_blend,
    alpha_blend_loops,
    match_images,
    over,
    over_premultiplied,
    premultiply,
    unpremultiply,
)
from course_lib.fusion.metrics import (
    edge_preservation,
    fusion_ssim,
    image_entropy,
    mutual_information,
)
from course_lib.fusion.network import FusionNet, fuse_attention, fuse_saliency
from course_lib.fusion.panorama import (
    feather_weights,
    feather_weights_loops,
    match_exposure,
    phase_correlation,
    stitch,
    warp_homography,
)
from course_lib.fusion.poisson import (
    divergence,
    gradients,
    poisson_blend,
    poisson_eigenvalues,
    poisson_matrix,
    poisson_solve,
    poisson_solve_region,
    sine_transform,
)
from course_lib.fusion.pyramid import (
    gaussian_pyramid,
    laplacian_pyramid,
    pyramid_blend,
    pyramid_down,
    pyramid_down_loops,
    pyramid_up,
    reconstruct,
)
from course_lib.fusion.repair import average_burst, burst_noise, inpaint
from course_lib.fusion.stack import (
    defocus,
    expose,
    exposure_fusion,
    exposure_weights,
    focus_fusion,
    sharpness,
)

__all__ = [
    "FusionNet",
    "alpha_blend",
    "alpha_blend_loops",
    "average_burst",
    "burst_noise",
    "defocus",
    "divergence",
    "edge_preservation",
    "expose",
    "exposure_fusion",
    "exposure_weights",
    "feather_weights",
    "feather_weights_loops",
    "focus_fusion",
    "fuse_attention",
    "fuse_saliency",
    "fusion_ssim",
    "gaussian_pyramid",
    "gradients",
    "image_entropy",
    "inpaint",
    "laplacian_pyramid",
    "match_exposure",
    "match_images",
    "mutual_information",
    "over",
    "over_premultiplied",
    "phase_correlation",
    "poisson_blend",
    "poisson_eigenvalues",
    "poisson_matrix",
    "poisson_solve",
    "poisson_solve_region",
    "premultiply",
    "pyramid_blend",
    "pyramid_down",
    "pyramid_down_loops",
    "pyramid_up",
    "reconstruct",
    "sharpness",
    "sine_transform",
    "stitch",
    "unpremultiply",
    "warp_homography",
]
