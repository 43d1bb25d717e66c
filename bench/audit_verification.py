"""How long does it take to verify a long audit trail? Writes an export, then verifies it as the command does.

python -m bench.audit_verification [--entries 1000000] [--per-seal 100]
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

from aragora_cp.tenancy.audit import Record
from aragora_cp.tenancy.audit_formats import to_jsonl
from aragora_cp.tenancy.verification import Verifier
from tests.trails import an_entry, sealed, signer


def write(path: Path, entries: int, per_seal: int) -> None:
    key = signer()
    seal: Record | None = None
    with path.open("w", encoding="utf-8") as out:
        last = an_entry(entries - 1)["id"]
        seals = -(-entries // per_seal)
        out.write(to_jsonl({"type": "trail", "trail": "acme", "last_seal": seals, "last_entry": last}) + "\n")
        for number in range(1, seals + 1):
            first = (number - 1) * per_seal
            segment = [an_entry(n) for n in range(first, min(first + per_seal, entries))]
            seal = sealed(segment, number, seal, key)
            out.writelines(to_jsonl(record) + "\n" for record in (*segment, seal))
        out.write(to_jsonl({"type": "end", "last_seal": seals, "unsealed": 0}) + "\n")


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--entries", type=int, default=1_000_000)
    options.add_argument("--per-seal", type=int, default=100)
    args = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trail.jsonl"
        began = time.perf_counter()
        write(path, args.entries, args.per_seal)
        print(f"sealed and written in {time.perf_counter() - began:.1f} s: {path.stat().st_size / 1e6:.0f} MB")
        began, busy = time.perf_counter(), time.process_time()
        verifier = Verifier()
        with path.open("rb") as lines:
            verifier.feed_lines(lines)
        report = verifier.end()
        took, busy = time.perf_counter() - began, time.process_time() - busy
    assert report.ok, report.breaks
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{report.entries:,} entries in {report.seals:,} signed seals verified in {took:.1f} s "
        f"({busy:.1f} s of one processor; {report.entries / took:,.0f} a second, {memory:.0f} MB at most)"
    )


if __name__ == "__main__":
    main()
