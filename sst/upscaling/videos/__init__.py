"""Reading and writing video files. Every frame is enlarged; sound, subtitles and timing stay unchanged."""

from sst.upscaling.videos.source import VIDEO_ENDINGS, VideoInfo, is_video, probe
from sst.upscaling.videos.target import FORMATS as WRITTEN_VIDEOS
from sst.upscaling.videos.upscaling import upscale_video

__all__ = ['VIDEO_ENDINGS', 'WRITTEN_VIDEOS', 'VideoInfo', 'is_video', 'probe', 'upscale_video']
