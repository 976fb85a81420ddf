"""What reading a large SKOS file takes: seconds and peak memory, each serialisation in its own process.

    python -m eval.skos --concepts 100000 --name skos

The thesaurus is made up: three languages, a name and an alias in each, a definition, one broader concept,
a scheme and a notation, so 11 triples a concept. It is read in English.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from eval.record import record
from irr.labels.space import LabelSpace

_SKOS = "http://www.w3.org/2004/02/skos/core#"
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_HOME = "http://example.org/"
# A property, its value, and the value's language; None where it is an address.
Said = tuple[str, str, str | None]


def main() -> None:
    """Writes the files, reads each, prints and records."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--concepts", type=int, default=100_000)
    parser.add_argument("--name", help="record the result under this name")
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.read:
        print(json.dumps(measure(arguments.read)))
        return
    with tempfile.TemporaryDirectory() as folder:
        files = write(Path(folder), arguments.concepts)
        with (Path(folder) / "labels.jsonl").open("w", encoding="utf-8") as file:
            for label in LabelSpace.read(files[0]):
                file.write(label.model_dump_json(exclude_defaults=True) + "\n")
        figures = {path.suffix: in_a_process(path) for path in [*files, Path(file.name)]}
    if len({figure.pop("fingerprint") for figure in figures.values()}) != 1:
        sys.exit("the serialisations differ")
    print(json.dumps(figures, indent=2))
    if arguments.name:
        record(arguments.name, {"concepts": arguments.concepts, **figures})


def in_a_process(path: Path) -> dict[str, Any]:
    """Reads a file in a fresh process."""
    call = [sys.executable, "-m", "eval.skos", "--read", str(path)]
    answer = subprocess.run(call, check=True, capture_output=True, text=True)
    return dict(json.loads(answer.stdout))


def measure(path: Path) -> dict[str, Any]:
    """Reads a file here and now."""
    start = time.perf_counter()
    space = LabelSpace.read(path)
    seconds = time.perf_counter() - start
    # Not from getrusage: that begins with what the parent process had.
    status = Path("/proc/self/status").read_text()
    peak = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    return {
        "seconds": round(seconds, 2),
        "peak_memory_mib": int(peak) // 1024,
        "file_mib": round(path.stat().st_size / 2**20, 1),
        "fingerprint": space.fingerprint,
    }


def concepts(count: int) -> Iterator[tuple[str, list[Said]]]:
    """The concepts: what each is called and what is said of it."""
    rng = random.Random(0)
    syllables = ["ba", "ce", "di", "fo", "gu", "ka", "le", "mi", "no", "pu", "ra", "se", "ti", "vo", "zu"]
    vocabulary = ["".join(rng.choices(syllables, k=rng.randint(2, 4))) for _ in range(5_000)]
    for number in range(count):
        said: list[Said] = [("inScheme", f"{_HOME}scheme", None), ("notation", str(number), "")]
        for language in ("en", "fi", "de"):
            for kind in ("prefLabel", "altLabel"):
                said.append((kind, " ".join(rng.choices(vocabulary, k=3)), language))
        said.append(("definition", " ".join(rng.choices(vocabulary, k=15)), "en"))
        if number:
            said.append(("broader", f"{_HOME}{(number - 1) // 8}", None))
        yield f"{_HOME}{number}", said


def write(folder: Path, count: int) -> list[Path]:
    """The same concepts in four serialisations."""
    paths = [folder / f"labels.{ending}" for ending in ("nt", "ttl", "rdf", "jsonld")]
    with (
        paths[0].open("w") as triples,
        paths[1].open("w") as turtle,
        paths[2].open("w") as xml,
        paths[3].open("w") as tree,
    ):
        turtle.write(f"@prefix skos: <{_SKOS}> .\n")
        xml.write(f'<rdf:RDF xmlns:rdf="{_RDF}" xmlns:skos="{_SKOS}">\n')
        tree.write("[\n")
        for number, (concept, said) in enumerate(concepts(count)):
            triples.write(f"<{concept}> <{_RDF}type> <{_SKOS}Concept> .\n")
            turtle.write(f"<{concept}> a skos:Concept")
            xml.write(f'<skos:Concept rdf:about="{concept}">')
            node: dict[str, Any] = {"@id": concept, "@type": [f"{_SKOS}Concept"]}
            for key, value, language in said:
                tag = f"@{language}" if language else ""
                term = f"<{value}>" if language is None else f'"{value}"{tag}'
                triples.write(f"<{concept}> <{_SKOS}{key}> {term} .\n")
                turtle.write(f" ;\n  skos:{key} {term}")
                attribute = f' xml:lang="{language}"' if language else ""
                xml.write(
                    f'<skos:{key} rdf:resource="{value}"/>'
                    if language is None
                    else f"<skos:{key}{attribute}>{value}</skos:{key}>"
                )
                inner = {"@id": value} if language is None else {"@value": value}
                node.setdefault(_SKOS + key, []).append(inner | ({"@language": language} if language else {}))
            turtle.write(" .\n")
            xml.write("</skos:Concept>\n")
            tree.write((",\n" if number else "") + json.dumps(node))
        xml.write("</rdf:RDF>\n")
        tree.write("]\n")
    return paths


if __name__ == "__main__":
    main()
