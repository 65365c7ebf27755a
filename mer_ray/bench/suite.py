"""How long the tests take."""

from mer_ray.bench.command import checkout_file, run_command
from mer_ray.bench.figure import Figure


def measure_tests() -> list[Figure]:
    """`tests.*`: the unit run and everything, start-up included."""
    checkout_file("tests")
    unit_s = run_command(["pytest", "-n", "2", "-m", "not slow and not ray and not browser and not chaos and not cluster"])
    rest_s = run_command(["pytest", "-n", "2", "--dist", "loadfile", "-m", "(slow or ray or browser) and not chaos and not cluster"])
    return [
        Figure("tests.unit_s", unit_s, "s", "lower", 60, "pytest without slow, ray, browser, cluster and chaos tests"),
        Figure("tests.all_s", unit_s + rest_s, "s", "lower", 1200, "pytest, all tests but those of clusters and chaos"),
    ]
