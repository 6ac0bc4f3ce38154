"""Look at latents: ``python -m mflag.analyze encoder=FILE data.path=PREPARED out=DIR``."""

from pathlib import Path

from mflag import cli
from mflag.analysis.measure import analyse
from mflag.analysis.request import check_analysis
from mflag.analysis.write import write_analysis
from mflag.config.analyze import AnalyzeConfig
from mflag.data.manifest import open_prepared
from mflag.data.preparing import prepare_phantom
from mflag.runtime.folder_lock import FolderLock


def main(config: AnalyzeConfig) -> None:
    """Analyse, write ``analysis.json``, ``analysis.html`` and ``plots/``, print the figures."""
    request = check_analysis(config)
    with FolderLock(request.out, "mflag.analyze") as lock:
        lock.acquire()
        if config.data.path is None:
            folder = request.out / "data"
            size, seed = config.data.size, config.data.seed
            prepare_phantom(folder, size, seed, replace_other=config.overwrite)
        else:
            folder = Path(config.data.path)
        results = analyse(config, request, open_prepared(folder))
        page = write_analysis(request.out, results)
    for note in results["notes"]:
        print("note:", note)
    print(
        f"{results['data']['n']:,} images of {results['data']['available']:,} "
        f"({results['data']['split']})"
    )
    for row in results["rows"]:
        alignment = "" if row["alignment"] is None else f", alignment {row['alignment']:.3f}"
        print(
            f"{row['encoder']:15} RankMe {row['rankme']:.1f}, effective rank "
            f"{row['effective_rank_centred']:.1f}, participation ratio "
            f"{row['participation_ratio']:.1f} (at most {row['rank_cap']}); top direction "
            f"{row['top_share']:.1%}, uniformity {row['uniformity']:.3f}{alignment}"
        )
    print("page:", page)


if __name__ == "__main__":
    cli.run(main, "analyze", AnalyzeConfig)
