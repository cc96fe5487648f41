"""The temperature of a teacher's similarities, found on validation pairs wherever its files are seen."""

import os

import torch

from spaces.errors import DatasetError, InputsChanged, PluginError, TeacherError
from trainables.configs import made_config
from trainables.share import within_share
from trainables.signals import CAPTION, Want
from trainables.tasks.pool import EvaluationSize, Pool
from trainables.teachers.calibration import most_likely
from trainables.training.build import shared_split, shared_teacher
from trainables.training.device import pick_device
from trainables.training.measuring import Measuring

IMAGE, TEXT = Want("image", "embedding"), Want("text", "embedding")


def calibrate(order: Measuring) -> tuple[float, int]:
    """Return the most likely temperature of the teacher of an order, and the number of its pairs.

    (nan, 0) where the split has no captions to tell apart.

    Raises:
        InputsChanged: teacher or data cannot be read here.
    """
    device = pick_device(order.device)
    with within_share():
        try:
            teacher = shared_teacher(order.teacher, str(device))
            split = shared_split(order.teacher, str(device), order.dataset, order.split)
        except (TeacherError, DatasetError, PluginError, OSError) as error:
            raise InputsChanged(f"{error} Looked for on the node {os.uname().nodename}.") from error
        size = made_config(EvaluationSize, order.evaluation, "evaluation")
        pool = Pool(teacher.model, split, device, size=size)
        if not len(pool.rows(CAPTION)[0]):
            return torch.nan, 0
        with torch.no_grad():
            image_NE, text_ME = pool.of_pictures(IMAGE).float(), pool.of_texts(CAPTION, TEXT).float()
        belongs_NM = torch.from_numpy(pool.asked.belongs(CAPTION)).to(image_NE.device)
        try:
            found = most_likely(image_NE @ text_ME.T, belongs_NM)
        except ValueError:
            return torch.nan, 0
        return found, len(text_ME)
