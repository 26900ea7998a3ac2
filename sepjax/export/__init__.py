"""Models as files that run without sepjax, or without Python."""
