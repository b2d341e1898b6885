"""The ways in which data sets come: each class method finds the pictures of one format and makes a data set of them.

from_folder   images/a.jpg, masks/a.png             from_cityscapes   leftImg8bit/, gtFine/
from_coco     images/, instances.json               from_camvid       train/, trainannot/
from_voc      JPEGImages/, SegmentationClass/       from_pets         oxford-iiit-pet/
from_hf       a table of Hugging Face
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from segnb.data import camvid, cityscapes, coco, folders, huggingface, pets, voc
from segnb.data.arguments import check_classes
from segnb.data.mask_values import MaskValue
from segnb.data.origin import remembers
from segnb.data.sources import Contents

if TYPE_CHECKING:
    import datasets
    import numpy as np

    from segnb.data.datasets import SegmentationDataset
    from segnb.data.transforms import Transform


class Readers:
    """What `SegmentationDataset` can be read from. The arguments without explanation are those of the class."""

    @classmethod
    @remembers
    def from_folder(
        cls: type[SegmentationDataset],
        images: str | Path,
        masks: str | Path,
        classes: Sequence[str],
        transform: Transform | None = None,
        *,
        mask_values: Sequence[MaskValue] | None = None,
        palette: Sequence[Sequence[int]] | np.ndarray | None = None,
        value_range: tuple[float, float] | None = None,
        multilabel: bool = False,
        cache_mb: float = 1024,
    ) -> SegmentationDataset:
        """Pair the files of two folders by name without extension: ``images/01.JPG`` with ``masks/01.png``.

        With ``multilabel`` each class has a folder of its own: ``masks/cell/01.png``, ``masks/nucleus/01.png``. Where a
        class has no file of a picture, the picture has no such class.

        Args:
            images: folder of images; hidden files, other types of file and folders in it are passed over.
            masks: folder of masks, or of a folder for each class.
            classes: see the class.
            transform: see the class.
            mask_values: see the class.
            palette: see the class.
            value_range: see the class.
            multilabel: see the class.
            cache_mb: see the class.

        Returns:
            The data set, sorted by name.

        Raises:
            SegnbError: a folder is missing or empty, a file has no partner, or two files share a name.
        """
        if multilabel:
            classes = check_classes(classes, multilabel=True)  # their names are folders
        pairs = folders.pair_planes(images, masks, classes) if multilabel else folders.pair_files(images, masks)
        contents = Contents(*pairs, classes, mask_values, palette, multilabel)
        return cls(**contents._asdict(), transform=transform, value_range=value_range, cache_mb=cache_mb)

    @classmethod
    @remembers
    def from_coco(
        cls: type[SegmentationDataset],
        images: str | Path,
        annotations: str | Path,
        classes: Sequence[str] | None = None,
        transform: Transform | None = None,
        *,
        value_range: tuple[float, float] | None = None,
        multilabel: bool = False,
        cache_mb: float = 1024,
    ) -> SegmentationDataset:
        """Read a JSON file of COCO instances: polygons and run lengths become labels.

        Label 0 is the background, then comes one label for each category in the order of their ids; with one category
        the data set is binary. Where things overlap, the smaller one is on top, of two with one size the later. Pixels
        of a crowd (``iscrowd``) are ignored unless a thing covers them. Pictures without annotations are kept as
        background. Masks are drawn when they are read. Needs ``segnb[data]``.

        With ``multilabel`` each category has a plane of its own, there is no background, and things overlap as they do in
        the file; a crowd is ignored in the plane of its category.

        Args:
            images: folder of the images; file names in the JSON file count from it.
            annotations: the JSON file.
            classes: names of the categories to learn, in the order of their labels from 1 on; all others belong to the
                background. None takes all. A category called "background" is the background.
            transform: see the class.
            value_range: see the class.
            multilabel: see the class.
            cache_mb: see the class.

        Returns:
            The data set, in the order of the file.

        Raises:
            SegnbError: the file is missing, broken or incomplete, names pictures that are missing or outside the folder,
                or has no such category; when read, a segmentation is not valid.
        """
        contents = coco.read_coco(images, annotations, classes, multilabel)
        return cls(**contents._asdict(), transform=transform, value_range=value_range, cache_mb=cache_mb)

    @classmethod
    @remembers
    def from_voc(
        cls: type[SegmentationDataset],
        root: str | Path | None = None,
        split: str = "train",
        transform: Transform | None = None,
        *,
        download: bool = False,
        cache_mb: float = 1024,
    ) -> SegmentationDataset:
        """Read Pascal VOC: 20 classes of things and background; their outlines are ignored.

        Args:
            root: the folder that holds ``JPEGImages``, or the one above ``VOCdevkit``; None for segnb's cache
                (``~/.cache/segnb``).
            split: "train", "val", "trainval", or another list in ``ImageSets/Segmentation``.
            transform: see the class.
            download: fetch VOC 2012 (2 GB) through torchvision if it is not there.
            cache_mb: see the class.

        Returns:
            The data set, in the order of the list.

        Raises:
            SegnbError: the data set or one of its files is missing, or could not be downloaded; the message says where
                to get it and where to put it.
        """
        return cls(**voc.read_voc(root, split, download)._asdict(), transform=transform, cache_mb=cache_mb)

    @classmethod
    @remembers
    def from_cityscapes(
        cls: type[SegmentationDataset],
        root: str | Path,
        split: str = "train",
        transform: Transform | None = None,
        *,
        cache_mb: float = 1024,
    ) -> SegmentationDataset:
        """Read Cityscapes: the 19 classes that are scored; all other ids are ignored.

        Args:
            root: the folder that holds ``leftImg8bit`` and ``gtFine`` (with its ``labelIds`` files).
            split: "train" or "val".
            transform: see the class.
            cache_mb: see the class.

        Returns:
            The data set, sorted by city and name.

        Raises:
            SegnbError: files are missing; when read, a mask holds ids that Cityscapes does not have.
        """
        return cls(**cityscapes.read_cityscapes(root, split)._asdict(), transform=transform, cache_mb=cache_mb)

    @classmethod
    @remembers
    def from_camvid(
        cls: type[SegmentationDataset],
        root: str | Path,
        split: str = "train",
        transform: Transform | None = None,
        *,
        cache_mb: float = 1024,
    ) -> SegmentationDataset:
        """Read CamVid with the eleven classes of SegNet; unlabelled pixels (11) are ignored.

        Args:
            root: the folder that holds ``train`` and ``trainannot``, or ``train/images`` and ``train/masks``.
            split: "train", "val" or "test".
            transform: see the class.
            cache_mb: see the class.

        Returns:
            The data set, sorted by name.

        Raises:
            SegnbError: folders are missing, or their files do not pair up.
        """
        return cls(**camvid.read_camvid(root, split)._asdict(), transform=transform, cache_mb=cache_mb)

    @classmethod
    @remembers
    def from_pets(
        cls: type[SegmentationDataset],
        root: str | Path | None = None,
        split: str = "trainval",
        transform: Transform | None = None,
        *,
        boundary: Literal["ignore", "class"] = "ignore",
        download: bool = False,
        cache_mb: float = 1024,
    ) -> SegmentationDataset:
        """Read Oxford-IIIT Pet: cats and dogs against what is behind them.

        Args:
            root: the folder above ``oxford-iiit-pet``, or that one; None for segnb's cache (``~/.cache/segnb``).
            split: "trainval" (3,680 pictures) or "test" (3,669).
            transform: see the class.
            boundary: what the band around the pet is. Its authors left it unclassified, so "ignore" makes a binary data
                set of pet and background; "class" makes three labels, background, pet and boundary.
            download: fetch it (800 MB) through torchvision if it is not there.
            cache_mb: see the class.

        Returns:
            The data set, in the order of its list.

        Raises:
            SegnbError: the data set or one of its files is missing, or could not be downloaded; the message says where
                to get it and where to put it.
        """
        contents = pets.read_pets(root, split, boundary, download)
        return cls(**contents._asdict(), transform=transform, cache_mb=cache_mb)

    @classmethod
    @remembers
    def from_hf(
        cls: type[SegmentationDataset],
        dataset: str | datasets.Dataset | datasets.DatasetDict,
        split: str = "train",
        classes: Sequence[str] | None = None,
        transform: Transform | None = None,
        *,
        image: str = "image",
        mask: str = "annotation",
        mask_values: Sequence[MaskValue] | None = None,
        palette: Sequence[Sequence[int]] | np.ndarray | None = None,
        value_range: tuple[float, float] | None = None,
        cache_mb: float = 1024,
    ) -> SegmentationDataset:
        """Read a data set of Hugging Face's ``datasets``; rows are decoded when they are read. Needs ``segnb[data]``.

        Args:
            dataset: an id on the hub such as "owner/name", or what ``datasets.load_dataset`` or ``load_from_disk`` gave.
            split: which part of an id or a ``DatasetDict``; a single ``Dataset`` is taken as it is.
            classes: see the class; None takes the names of a ``ClassLabel`` in the mask's feature.
            transform: see the class.
            image: the column of the images: pictures, or arrays (H, W) or (H, W, C).
            mask: the column of the masks: pictures, or arrays (H, W).
            mask_values: see the class.
            palette: see the class.
            value_range: see the class.
            cache_mb: see the class.

        Returns:
            The data set, in the order of the rows.

        Raises:
            SegnbError: there is no such data set, split or column, it cannot be fetched, or nothing names the classes.
        """
        contents = huggingface.read_hf(dataset, split, image, mask, classes)
        contents = contents._replace(mask_values=mask_values, palette=palette)
        return cls(**contents._asdict(), transform=transform, value_range=value_range, cache_mb=cache_mb)
