"""A time budget: how many epochs fit, found from the pace of the first steps and corrected after every epoch.

    ├─ 8 steps, timed ─┤──── first epoch ────┤ validate ├──── second epoch ────┤ validate ├ …        │ budget
    plan: budget / pace                      plan again                        plan again

A learning rate that is lowered to nothing just when the time is up gives the most for that time (Li et al., "Budgeted
Training", ICLR 2020, https://arxiv.org/abs/1905.04753): so the schedule is stretched to the plan.
"""

from __future__ import annotations

from segnb.train.progressive import SPEED, Progression
from segnb.train.run import Run

WARM_UP, MEASURED = 2, 8  # the first steps are slower: memory is set up, pictures are decoded for the first time
VALIDATION = 0.5  # of a training step's time for as many pictures, until a validation was timed: no backward pass


class Budget:
    """Plans a run to end within a time.

    Args:
        seconds: of work; pauses do not count.
        validation_batches: that are judged after each epoch.
        progression: which epochs learn on pictures of half the size, and take less time.
    """

    def __init__(self, seconds: float, validation_batches: int, progression: Progression) -> None:
        self.seconds, self.validation_batches, self.progression = seconds, validation_batches, progression
        self._warm = (0, 0.0)
        self._first = 0.0  # when the first step of the run was done
        self._trained = 0.0  # when the training of an epoch was done and its validation began

    def is_due(self, run: Run) -> bool:
        """Look at the clock after a step; say whether there are enough steps to plan."""
        if run.step == 1 and not run.history:
            self._first = run.seconds
        if run.step == run.steps:
            self._trained = run.seconds
        if run.history or run.step > MEASURED:
            return False
        if run.step == min(WARM_UP, run.steps - 1):
            self._warm = (run.step, run.seconds)
        return run.step == min(MEASURED, run.steps)

    def plan_first(self, run: Run) -> None:
        """Set the run's epochs from the time of its first steps; an epoch that is too long itself gets fewer steps."""
        step, began = self._warm
        pace = (run.seconds - began) / max(1, run.step - step)
        whole = self._whole(pace, run)
        validation = VALIDATION * whole * self.validation_batches
        left = self.seconds - run.seconds + run.step * pace  # as if it had started at this pace
        run.epochs = self._epochs(0, left, run.steps * whole, validation)
        if run.epochs == 0:
            run.epochs = 1
            run.steps = min(run.steps, max(run.step, int((left - validation) / whole)))

    def plan_again(self, run: Run) -> bool:
        """Correct the run's epochs by the time that the last one took.

        Returns:
            Whether they changed. A run past its half does not get longer: its learning rate is already falling.
        """
        done, last = len(run.history), run.history[-1]
        validation = last["elapsed"] - self._trained
        training = last["seconds"] - validation
        if done == 1 and run.steps > 1:  # the very first step was slow, and on whole pictures
            training = (self._trained - self._first) * run.steps / (run.steps - 1)
        whole = self._whole(training, run)
        planned = max(done, self._epochs(done, self.seconds - run.seconds, whole, validation))
        if planned == run.epochs or (planned > run.epochs and 2 * done > run.epochs):
            return False
        run.epochs = planned
        return True

    def _whole(self, seconds: float, run: Run) -> float:
        """Training time of the run's present epoch -> what it would take, or takes, with whole pictures."""
        return seconds * SPEED if run.epoch <= self.progression.half_epochs(run.epochs) else seconds

    def _epochs(self, done: int, left: float, whole: float, validation: float) -> int:
        """The most epochs that fit, of which some are done and some seconds are left for the others."""
        epochs = done
        while self._seconds(done, epochs + 1, whole, validation) <= left:
            epochs += 1
        return epochs

    def _seconds(self, done: int, epochs: int, whole: float, validation: float) -> float:
        """What the epochs after the done ones take."""
        half = max(0, self.progression.half_epochs(epochs) - done)
        return half * whole / SPEED + (epochs - done - half) * whole + (epochs - done) * validation
