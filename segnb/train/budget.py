"""A time budget: how many epochs fit, found from the pace of the first steps and corrected after every epoch.

    ├─ 8 steps, timed ─┤──── first epoch ────┤ validate ├──── second epoch ────┤ validate ├ …        │ budget
    plan: budget / pace                      plan again                        plan again

A learning rate that is lowered to nothing just when the time is up gives the most for that time (Li et al., "Budgeted
Training", ICLR 2020, https://arxiv.org/abs/1905.04753): so the schedule is stretched to the plan.
"""

from __future__ import annotations

from segnb.train.run import Run

WARM_UP, MEASURED = 2, 8  # the first steps are slower: memory is set up, pictures are decoded for the first time
VALIDATION = 0.5  # of a training step's time for as many pictures, until a validation was timed: no backward pass


class Budget:
    """Plans a run to end within a time.

    Args:
        seconds: of work; pauses do not count.
        validation_batches: that are judged after each epoch.
    """

    def __init__(self, seconds: float, validation_batches: int) -> None:
        self.seconds, self.validation_batches = seconds, validation_batches
        self._warm = (0, 0.0)

    def is_due(self, run: Run) -> bool:
        """Look at the clock after a step of the first epoch; say whether there are enough steps to plan."""
        if run.history or run.step > MEASURED:
            return False
        if run.step == min(WARM_UP, run.steps - 1):
            self._warm = (run.step, run.seconds)
        return run.step == min(MEASURED, run.steps)

    def plan_first(self, run: Run) -> None:
        """Set the run's epochs from the time of its first steps; an epoch that is too long itself gets fewer steps."""
        step, began = self._warm
        step_seconds = (run.seconds - began) / max(1, run.step - step)
        validation = VALIDATION * step_seconds * self.validation_batches
        left = self.seconds - run.seconds + run.step * step_seconds  # as if it had started at this pace
        run.epochs = int(left / (run.steps * step_seconds + validation))
        if run.epochs == 0:
            run.epochs = 1
            run.steps = min(run.steps, max(run.step, int((left - validation) / step_seconds)))

    def plan_again(self, run: Run) -> bool:
        """Correct the run's epochs by the time that the last one took.

        Returns:
            Whether they changed. A run past its half does not get longer: its learning rate is already falling.
        """
        done, pace = len(run.history), run.history[-1]["seconds"]
        planned = done + max(0, int((self.seconds - run.seconds) / pace))
        if planned == run.epochs or (planned > run.epochs and 2 * done > run.epochs):
            return False
        run.epochs = planned
        return True
