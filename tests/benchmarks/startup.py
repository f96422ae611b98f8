"""Start-up: `import smallinit` and a second `smallinit --help`, as whole processes, median of nine.

python tests/benchmarks/startup.py
"""

import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python, bare": ["-c", "pass"],
    "import smallinit": ["-c", "import smallinit"],
    "smallinit --help": ["-m", "smallinit", "--help"],
}


def seconds(arguments):
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-P", *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def main():
    for name, arguments in COMMANDS.items():
        seconds(arguments)
        print(f"{name:18} {statistics.median(seconds(arguments) for _ in range(9)):.3f} s")


if __name__ == "__main__":
    main()
