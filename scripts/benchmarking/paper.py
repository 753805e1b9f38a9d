"""What the paper reports, to compare with: its tables 1, 2, S4 and S5. Output 1280 x 720, batch 1."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """One row of the paper. None where it gives no figure."""

    psnr: float  # on Urban100, in dB, trained on DF2K (the light models: DIV2K)
    latency: float | None = None  # ms on an H200; the table of the light models names no GPU
    memory: float | None = None  # MB
    multiply_adds: float | None = None  # in 1e9; the paper calls them FLOPs


OUTPUT_WIDTH = 1280  # of the pictures that it measures on, in pixels; they are 720 high

PUBLISHED = {
    ('SST-light', 2): Published(33.54, multiply_adds=2057.6),
    ('SST-light', 3): Published(29.34, multiply_adds=954.1),
    ('SST-light', 4): Published(27.12, multiply_adds=517.0),
    ('SST-light+', 2): Published(33.79, multiply_adds=4903.3),
    ('SST-light+', 3): Published(29.50, multiply_adds=2397.7),
    ('SST-light+', 4): Published(27.23, multiply_adds=1329.7),
    ('SST', 2): Published(34.61, 428.9, 2675),
    ('SST', 3): Published(30.35, 194.2, 1296),
    ('SST', 4): Published(28.08, 111.5, 764),
    ('SST+', 2): Published(34.88, 455.8, 2825),
    ('SST+', 3): Published(30.59, 207.1, 1527),
    ('SST+', 4): Published(28.23, 120.8, 914),
    ('SST-L', 2): Published(34.78, 608.4, 2824, 18800),
    ('SST-L', 3): Published(30.52, 276.3, 1391),
    ('SST-L', 4): Published(28.23, 158.3, 941),
    ('SST-L+', 2): Published(35.01, 644.9, 2990, 28700),
    ('SST-L+', 3): Published(30.75, 293.4, 1639),
    ('SST-L+', 4): Published(28.39, 170.4, 1015),
}
