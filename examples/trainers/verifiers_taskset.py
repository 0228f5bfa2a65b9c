"""A taskset of verifiers (v1) whose reward is a judge's. With this folder on PYTHONPATH:

    vf-eval @ examples/trainers/verifiers.toml
"""

import verifiers.v1 as vf

from jury.trainers.verifiers import Scorer

__all__ = ["JudgedTaskset"]

# The same timeout as in verifiers.toml: the judge answers before it expires.
score = Scorer("127.0.0.1:7480", reference="answer", timeout=180, budget=60, k=4)


class Question(vf.TaskData):
    answer: str


class Judged(vf.Task[Question]):
    @vf.reward
    async def jury(self, trace: vf.Trace) -> float:
        return await score(self.data, trace)


class JudgedTaskset(vf.Taskset[Judged, vf.TasksetConfig]):
    def load(self) -> list[Judged]:
        rows = [("What is the capital of France?", "Paris"), ("What is 2 + 2?", "4")]
        return [Judged(Question(prompt=prompt, answer=answer), self.config.task) for prompt, answer in rows]
