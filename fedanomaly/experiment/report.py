from pathlib import Path


def write_run_report(path: Path) -> Path:
    return path
