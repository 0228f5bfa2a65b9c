"""GPU memory in use while something runs, sampled ten times per second with nvidia-smi."""

import subprocess
import threading

MIB = 1 << 20


class Sampler:
    """`idle` and `peak` in bytes; None without nvidia-smi or without a GPU."""

    def __init__(self, device):
        self.device, self.idle, self.peak, self.child = device, None, None, None

    def __enter__(self):
        if self.device.startswith("cuda"):
            number = self.device.partition(":")[2] or "0"
            query = ["nvidia-smi", f"--id={number}", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
            try:
                self.idle = int(subprocess.run(query, capture_output=True, check=True).stdout) * MIB
                self.child = subprocess.Popen([*query, "--loop-ms=100"], stdout=subprocess.PIPE, text=True)
            except (OSError, ValueError, subprocess.CalledProcessError):
                return self
            self.reader = threading.Thread(target=self.read, daemon=True)
            self.reader.start()
        return self

    def read(self):
        for line in self.child.stdout:
            if line.strip().isdigit():
                self.peak = max(self.peak or 0, int(line) * MIB)

    def __exit__(self, *_):
        if self.child:
            self.child.terminate()
            self.child.wait()
            self.reader.join(timeout=5)

    @property
    def used(self):
        """The increase over the earlier use."""
        return None if self.peak is None else self.peak - self.idle
