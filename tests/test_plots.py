"""What the figures draw is read back from them; what they must not do is looked for."""

import subprocess
import sys
from io import BytesIO
from itertools import pairwise

import matplotlib as mpl
import nbformat
import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from nbclient import NotebookClient
from PIL import Image

from course_lib import plots

PHOTO = torch.linspace(0, 1, 3 * 6 * 8).reshape(3, 6, 8)
BOXES = torch.tensor([[1.0, 2.0, 5.0, 5.0], [0.0, 0.0, 8.0, 6.0]])

CALLS = {
    "image_grid": lambda: plots.image_grid(PHOTO[:, None], titles=["a", "b", "c"], title="three"),
    "image_grid, square": lambda: plots.image_grid(torch.rand(4, 1, 9, 9), titles=list("abcd")),
    "image_grid, one": lambda: plots.image_grid(PHOTO),
    "image_grid, auto": lambda: plots.image_grid(
        [PHOTO, PHOTO[0] - 0.5, PHOTO[0]],
        titles=["a photograph", "a map with a long title that needs lines", "grey"],
        value_range="auto",
        colorbar=True,
    ),
    "feature_maps": lambda: plots.feature_maps(PHOTO - 0.5, titles=["a", "b", "c"]),
    "boxes": lambda: plots.boxes(
        PHOTO, BOXES, ["cat", "dog"], torch.tensor([0.9, 0.25]), torch.ones(2, 6, 8) > 0, "pets"
    ),
    "scene_grid": lambda: plots.scene_grid(
        [{"image": PHOTO, "boxes": BOXES, "labels": torch.tensor([3, 11])}] * 5, columns=3
    ),
    "curves": lambda: plots.curves(
        {"up": [1, 2, 4], "down": ([0, 1, 3], [3.9, 2.0, 1.0])}, "step", "loss", title="both"
    ),
    "curves, log": lambda: plots.curves({"up": ([1, 10], [1, 20])}, "size", "time", log="xy"),
    "bars": lambda: plots.bars({"loops": 812.3, "torch": 0.5}, "milliseconds", title="times"),
    "bars, log": lambda: plots.bars({"loops": 812.3, "torch": 0.0871}, "milliseconds", log=True),
    "graph": lambda: plots.graph(
        {"x = 2": (0, 0), "w = 3": (0, 1), "w x = 6": (1, 0.5)},
        {("x = 2", "w x = 6"): "3", ("w = 3", "w x = 6"): "2"},
        title="a product",
    ),
    "planes": lambda: plots.planes(
        {"a crowd": torch.rand(30, 2), "another crowd with a long name": torch.rand(9, 2)},
        2,
        marks=torch.eye(2),
    ),
    "planes, paths": lambda: plots.planes(
        {"round": torch.eye(2), "still": torch.zeros(1, 2)},
        1.5,
        fields={"round": lambda x, y: (y, -x)},
        joined=True,
        xlabel="theta",
        ylabel="psi",
    ),
    "matrix": lambda: plots.matrix(
        [torch.arange(20).reshape(4, 5), torch.randn(3, 3), torch.ones(1, 1)],
        titles=["pixels", "kernel", "an answer with a long name"],
        highlight=[torch.eye(4, 5) > 0, None, None],
    ),
    "matrix, named": lambda: plots.matrix(
        torch.rand(2, 3),
        rows=["a rather long name", "b"],
        columns=["shift and add", "Fourier", "torch"],
        title="time relative to torch",
    ),
    "matrix, plain": lambda: plots.matrix(torch.rand(30, 30), annotate=False, title="attention"),
}


@pytest.fixture(params=CALLS, ids=str)
def call(request):
    return CALLS[request.param]


def texts(figure):
    return [text.get_text() for text in figure.findobj(mpl.text.Text) if text.get_text()]


def images(figure):
    return [image for axes in figure.axes for image in axes.get_images()]


# --- every figure -------------------------------------------------------------------------------


def test_a_figure_is_returned_that_pyplot_does_not_know(call):
    from matplotlib import pyplot

    figure = call()
    assert isinstance(figure, Figure)
    assert pyplot.get_fignums() == []


def test_settings_are_neither_changed_nor_read(call):
    before = dict(mpl.rcParams)
    torch.manual_seed(0)
    plain = call()._png()
    assert dict(mpl.rcParams) == before
    torch.manual_seed(0)
    with mpl.rc_context({"axes.facecolor": "red", "axes.linewidth": 5, "axes.titlecolor": "red"}):
        assert call()._png() == plain


def test_nothing_is_cut_off(call):
    figure = call()
    figure._png()
    with plots._style():
        drawn, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert drawn.x0 >= 0.02
    assert drawn.y0 >= 0.02
    assert drawn.x1 <= width - 0.02
    assert drawn.y1 <= height - 0.02


def test_a_figure_fits_a_page_and_is_sharp(call):
    content, width = call()._png()
    with Image.open(BytesIO(content)) as picture:
        assert picture.width == pytest.approx(1.5 * width, abs=1)
        assert width <= 700
        corner = picture.convert("RGB").getpixel((0, 0))
    assert corner == (255, 255, 255)


def test_importing_leaves_matplotlib_alone():
    code = (
        "import sys, matplotlib; before = matplotlib.rcParams.copy(); import course_lib.plots;"
        "assert matplotlib.rcParams.copy() == before; print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_tensors_of_any_device_and_dtype(device, dtype):
    image = PHOTO.clone().to(device, dtype).requires_grad_()
    frames = BOXES.to(device, dtype)
    plots.image_grid(image)
    plots.feature_maps(image - 0.5)
    plots.boxes(image, frames, torch.tensor([0, 1], device=device), frames[:, 0], image[:2] > 0.5)
    plots.curves({"a": image[0, 0], "b": (image[0, 0], image[0, 1])}, "x", "y")
    plots.bars({"a": image.sum()}, "x")
    plots.matrix(image[0])
    plots.matrix((image[0] * 9).int(), highlight=image[0] > 0.1)


@pytest.mark.slow
def test_a_notebook_shows_a_figure_once():
    call = "plots.image_grid(torch.rand(2, 1, 8, 8))"
    cells = [
        "import torch\nfrom course_lib import plots",
        call,
        "import matplotlib.pyplot as plt\n" + call,
        f"figure = {call}",
        "figure",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    shown = [
        [out.data for out in cell.outputs if "data" in out and "image/png" in out.data]
        for cell in notebook.cells
    ]
    assert [len(pictures) for pictures in shown] == [0, 1, 1, 0, 1]
    assert all(len(cell.outputs) <= 1 for cell in notebook.cells)
    assert notebook.cells[1].outputs[0].metadata == {"image/png": {"width": 600}}
    assert shown[1][0]["text/plain"].startswith("<Figure size 900x")


def test_category_colours_are_told_apart():
    assert len(set(plots.OKABE_ITO)) == 8
    for colour in plots.OKABE_ITO:
        back = np.array(mpl.colors.to_rgb(colour))
        front = np.array(mpl.colors.to_rgb(plots._readable_on(colour)))
        light, dark = sorted((relative_luminance(back), relative_luminance(front)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5


def relative_luminance(rgb):
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


# --- images -------------------------------------------------------------------------------------


def test_images_show_their_values():
    red = torch.zeros(3, 4, 5)
    red[0] = 0.5
    figure = plots.image_grid([PHOTO[0], PHOTO[:1], red], titles=["one", "two", "three"])
    grey, also_grey, colour = images(figure)
    np.testing.assert_allclose(grey.get_array(), PHOTO[0])
    np.testing.assert_allclose(also_grey.get_array(), PHOTO[0])
    np.testing.assert_allclose(colour.get_array(), red.permute(1, 2, 0))
    assert grey.get_clim() == (0, 1)
    assert grey.get_cmap().name == "gray"
    assert grey.get_extent() == [0, 8, 6, 0]
    assert [axes.get_title() for axes in figure.axes] == ["one", "two", "three"]


@pytest.mark.parametrize(
    ("count", "columns", "expected"), [(3, None, 3), (12, None, 5), (7, 3, 3), (2, 9, 2)]
)
def test_columns(count, columns, expected):
    figure = plots.image_grid(torch.rand(count, 1, 4, 4), columns=columns)
    assert len(figure.axes) == count
    assert figure.axes[0].get_subplotspec().get_gridspec().ncols == expected


def test_a_value_range_is_the_same_for_all():
    figure = plots.image_grid([PHOTO[0] * 4 - 1, PHOTO[0]], value_range=(-1, 3), colorbar=True)
    assert [image.get_clim() for image in images(figure)[:2]] == [(-1, 3)] * 2
    assert len(figure.axes) == 3


def test_signed_values_share_a_symmetric_scale():
    figure = plots.image_grid([PHOTO[0], -3 * PHOTO[0]], value_range="signed")
    reach = 3 * float(PHOTO[0].max())
    for image in images(figure):
        assert image.get_clim() == pytest.approx((-reach, reach))
        assert image.get_cmap().name == "RdBu_r"
        white = image.get_cmap()(image.norm(0.0))
        assert min(white[:3]) > 0.95


def test_auto_gives_each_image_its_own_scale():
    figure = plots.image_grid(
        [PHOTO[0] - 0.5, 10 + PHOTO[0], 4 * PHOTO, torch.full((2, 2), 7.0)],
        value_range="auto",
        colorbar=True,
    )
    signed, grey, colour, constant = images(figure)
    assert signed.get_clim() == pytest.approx((-0.5, 0.5))
    assert grey.get_clim() == pytest.approx((10, 10 + float(PHOTO[0].max())))
    np.testing.assert_allclose(colour.get_array().max(), 1)
    assert constant.get_clim() == (7, 8)
    assert [len(axes.child_axes) for axes in figure.axes] == [1, 1, 0, 1]


def test_auto_ignores_what_is_not_finite():
    values = torch.tensor([[1.0, 3.0], [float("nan"), float("inf")]])
    (image,) = images(plots.image_grid(values, value_range="auto"))
    assert image.get_clim() == (1, 3)


def test_values_outside_the_range_are_answered():
    for bad in (torch.tensor([[1.5]]), torch.tensor([[-0.1]]), torch.tensor([[float("nan")]])):
        with pytest.raises(ValueError, match=r"images\[1\]: expected values in \[0, 1\], got"):
            plots.image_grid([PHOTO, bad])
    plots.image_grid(torch.tensor([[1 + 1e-6, -1e-6]]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: plots.image_grid([]), "expected at least one"),
        (lambda: plots.image_grid([PHOTO], titles=["a", "b"]), "titles: expected 1, got 2"),
        (lambda: plots.image_grid(PHOTO[:2]), r"images\[0\]: expected \(3, H, W\)"),
        (lambda: plots.image_grid(PHOTO[:, :0]), r"images\[0\]: expected \(3, H, W\)"),
        (lambda: plots.image_grid(PHOTO, columns=0), "columns: expected an integer >= 1"),
        (lambda: plots.image_grid(PHOTO, value_range="max"), "value_range: expected one of"),
        (lambda: plots.image_grid(PHOTO, value_range="signed"), "expected one channel"),
        (lambda: plots.feature_maps(PHOTO[None].repeat(2, 1, 1, 1)), "maps: expected shape"),
    ],
)
def test_wrong_images_are_answered(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_an_array_is_no_tensor():
    with pytest.raises(TypeError, match=r"images\[0\]: expected a tensor"):
        plots.image_grid([np.zeros((3, 3))])


@pytest.mark.parametrize("maps", [PHOTO, PHOTO[None], list(PHOTO)])
def test_feature_maps_take_channels_apart(maps):
    figure = plots.feature_maps(maps)
    shown = images(figure)[:3]
    for image, channel in zip(shown, PHOTO, strict=True):
        np.testing.assert_allclose(image.get_array(), channel)
        assert image.get_clim() == pytest.approx((-1, 1))
    assert len(figure.axes) == 4  # the scale is the fourth


# --- boxes --------------------------------------------------------------------------------------


def rectangles(figure):
    return [patch for patch in figure.axes[0].patches if type(patch) is Rectangle]


def test_boxes_lie_where_they_say():
    figure = plots.boxes(PHOTO, BOXES, ["cat", "dog"], torch.tensor([0.9, 0.25]))
    for patch, box in zip(rectangles(figure), BOXES.tolist(), strict=True):
        assert list(patch.get_bbox().extents) == box
    assert {"cat 0.90", "dog 0.25"} <= set(texts(figure))
    assert images(figure)[0].get_extent() == [0, 8, 6, 0]  # pixel i from i to i + 1


def test_boxes_without_labels():
    figure = plots.boxes(PHOTO[:1], BOXES, scores=[0.5, 0.75])
    assert {"0.50", "0.75"} <= set(texts(figure))
    assert texts(plots.boxes(PHOTO, BOXES)) == []
    assert len(rectangles(plots.boxes(PHOTO, torch.empty(0, 4)))) == 0


def test_a_class_keeps_its_colour():
    first = plots.boxes(PHOTO, BOXES, torch.tensor([3, 1]))
    second = plots.boxes(PHOTO, BOXES, torch.tensor([5, 3]))
    assert to_hex(rectangles(first)[0].get_edgecolor()).upper() == plots.OKABE_ITO[3]
    assert to_hex(rectangles(second)[1].get_edgecolor()).upper() == plots.OKABE_ITO[3]


def test_masks_tint_their_pixels():
    mask = torch.zeros(2, 6, 8, dtype=torch.bool)
    mask[1, 2, 3] = True
    figure = plots.boxes(PHOTO, BOXES, masks=mask)
    alpha = [image.get_array()[..., 3] for image in images(figure)[1:]]
    assert alpha[0].max() == 0
    assert np.argwhere(alpha[1] > 0).tolist() == [[2, 3]]


def test_labels_keep_out_of_each_others_way():
    image = torch.zeros(1, 128, 128)
    nested = torch.tensor([[64 - r, 64 - r, 64 + r, 64 + r] for r in (2, 4, 8, 16, 63.0)])
    figure = plots.boxes(image, nested, [f"layer {n}: some pixels" for n in range(5)])
    figure._png()
    frame = figure.axes[0].get_window_extent()
    extents = [text.get_window_extent() for text in figure.axes[0].texts]
    assert len(extents) == 5
    for number, extent in enumerate(extents):
        assert frame.x0 <= extent.x0
        assert extent.x1 <= frame.x1
        assert frame.y0 <= extent.y0
        assert extent.y1 <= frame.y1
        assert not any(extent.overlaps(other) for other in extents[:number])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels": ["cat"]}, "labels: expected 2, got 1"),
        ({"scores": torch.ones(3)}, "scores: expected 2, got 3"),
        ({"masks": torch.ones(1, 6, 8) > 0}, "masks: expected 2, got 1"),
        ({"masks": torch.ones(2, 8, 6) > 0}, r"masks: expected shape \(2, 6, 8\)"),
    ],
)
def test_wrong_counts_are_answered(arguments, message):
    with pytest.raises(ValueError, match=message):
        plots.boxes(PHOTO, BOXES, **arguments)


def test_wrong_boxes_are_answered():
    with pytest.raises(ValueError, match=r"boxes: expected shape \(any, 4\)"):
        plots.boxes(PHOTO, BOXES[0])


def test_scenes_are_drawn_as_data_makes_them():
    data = pytest.importorskip("course_lib.data")
    scenes = data.scenes(3, 0, size=48)
    figure = plots.scene_grid(scenes, titles=["a", "b", "c"])
    for axes, scene in zip(figure.axes, scenes, strict=True):
        drawn = [patch.get_bbox().extents.tolist() for patch in axes.patches]
        assert drawn == scene["boxes"].tolist()
        assert [text.get_text() for text in axes.texts] == [
            str(k) for k in scene["labels"].tolist()
        ]


# --- numbers ------------------------------------------------------------------------------------


def test_curves_hold_their_points():
    figure = plots.curves({"a": [3.0, 1.0], "b": ([1, 4], torch.tensor([5, 6]))}, "step", "loss")
    (axes,) = figure.axes
    first, second = axes.get_lines()
    assert first.get_xydata().tolist() == [[0, 3], [1, 1]]
    assert second.get_xydata().tolist() == [[1, 5], [4, 6]]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("step", "loss")


def test_curves_differ_in_more_than_colour():
    figure = plots.curves({str(n): [n, n + 1.0] for n in range(7)}, "x", "y")
    lines = figure.axes[0].get_lines()
    assert len({line.get_color() for line in lines}) == 7
    assert len({line.get_marker() for line in lines}) == 7
    assert all(a.get_linestyle() != b.get_linestyle() for a, b in pairwise(lines))


def test_each_line_is_named_at_its_end_and_names_do_not_meet():
    figure = plots.curves({"a": [0, 1.0], "b": [0, 1.0], "c": [0, 0.875], "d": [0, -9]}, "x", "y")
    figure._png()
    names = {text.get_text(): text for text in figure.axes[0].texts}
    assert list(names) == ["a", "b", "c", "d"]
    assert [tuple(names[key].xy) for key in "abcd"] == [(1, 1), (1, 1), (1, 0.875), (1, -9)]
    extents = [mpl.text.Text.get_window_extent(names[key]) for key in "dcba"]
    extents.sort(key=lambda extent: extent.y0)
    for below, above in pairwise(extents):
        assert below.y1 <= above.y0 + 1
    assert names["d"].xyann[1] < names["c"].xyann[1] < names["a"].xyann[1]


def test_moving_apart_keeps_order_and_gap():
    heights = torch.rand(50, 6, generator=torch.Generator().manual_seed(0))
    for row in heights.tolist():
        moved = plots._moved_apart(row, 0.1)
        assert np.argsort(moved).tolist() == np.argsort(row).tolist()
        assert np.diff(sorted(moved)).min() >= 0.1 - 1e-9
        assert np.mean(moved) == pytest.approx(np.mean(row))
    assert plots._moved_apart([0.2, 0.9], 0.1) == [0.2, 0.9]


@pytest.mark.parametrize("log", ["", "x", "y", "xy"])
def test_logarithmic_axes(log):
    (axes,) = plots.curves({"a": ([1, 10], [2, 30])}, "x", "y", log=log).axes
    assert axes.get_xscale() == ("log" if "x" in log else "linear")
    assert axes.get_yscale() == ("log" if "y" in log else "linear")


def test_short_logarithmic_axes_have_plain_numbers():
    figure = plots.curves({"a": ([1, 30], [1, 30])}, "x", "y", log="x")
    figure._png()
    labels = [tick.get_text() for tick in figure.axes[0].get_xticklabels()]
    assert {"1", "2", "5", "10", "20"} <= set(labels)


@pytest.mark.parametrize(
    ("series", "log", "message"),
    [
        ({}, "", "series: expected one to 7, got 0"),
        ({str(n): [1] for n in range(8)}, "", "series: expected one to 7, got 8"),
        ({"a": ([1, 2], [1, 2, 3])}, "", r"series\['a'\]: expected numbers.*\(2,\) and \(3,\)"),
        ({"a": [[1, 2]]}, "", r"series\['a'\]: expected numbers"),
        ({"a": []}, "", r"series\['a'\]: expected numbers"),
        ({"a": [1, 0]}, "y", r"series\['a'\]: expected y above 0 .*got 0"),
        ({"a": [1, 2]}, "x", r"series\['a'\]: expected x above 0 .*got 0"),
        ({"a": [1]}, "z", "log: expected one of"),
    ],
)
def test_wrong_series_are_answered(series, log, message):
    with pytest.raises(ValueError, match=message):
        plots.curves(series, "x", "y", log=log)


def test_bars_have_their_lengths_and_numbers():
    figure = plots.bars({"loops": 812.3, "ours": 4.125, "none": 0}, "milliseconds")
    (axes,) = figure.axes
    assert [patch.get_width() for patch in axes.patches] == [812.3, 4.125, 0]
    assert axes.get_xlim()[0] == 0
    assert [text.get_text() for text in axes.texts] == ["812", "4.12", "0"]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["loops", "ours", "none"]
    assert axes.get_xlabel() == "milliseconds"
    bottom, top = axes.get_ylim()
    assert bottom > top  # the first one stands on top


def test_a_logarithmic_axis_gets_dots():
    (axes,) = plots.bars({"a": 0.01, "b": 100}, "s", log=True).axes
    assert len(axes.patches) == 0
    assert axes.get_lines()[0].get_xydata().tolist() == [[0.01, 0], [100, 1]]
    assert axes.get_xscale() == "log"


@pytest.mark.parametrize(("value", "log"), [(-1, False), (float("nan"), False), (0, True)])
def test_wrong_bars_are_answered(value, log):
    with pytest.raises(ValueError, match=r"values\['a'\]: expected a number"):
        plots.bars({"a": value}, "s", log=log)


@pytest.mark.parametrize(
    ("number", "written"),
    [
        (0, "0"),
        (1234.5, "1,230"),
        (12.34, "12.3"),
        (1, "1.00"),
        (0.00123, "0.00123"),
        (1e-9, "1.00e-09"),
        (-2.5, "-2.50"),
    ],
)
def test_short_numbers(number, written):
    assert plots._short(number) == written


def test_a_matrix_writes_its_numbers():
    figure = plots.matrix([torch.tensor([[1, -2], [30, 0]]), torch.tensor([[0.5, -0.004]])])
    written = [text for text in texts(figure) if text]
    assert written == ["1", "−2", "30", "0", "0.50", "0.00"]


def test_numbers_stand_in_their_cells():
    values = torch.arange(6).reshape(2, 3)
    (axes,) = plots.matrix(values).axes
    for text in axes.texts:
        if text.get_text():
            x, y = text.get_position()
            assert values[int(y), int(x)] == int(text.get_text())
    (image,) = axes.get_images()
    np.testing.assert_allclose(image.get_array(), values)
    assert image.get_clim() == (-5, 5)


def test_numbers_are_readable_on_their_tints():
    (axes,) = plots.matrix(torch.linspace(-1, 1, 11)[None]).axes
    (image,) = axes.get_images()
    for value in np.linspace(-1, 1, 11):
        back = relative_luminance(np.array(image.get_cmap()(image.norm(value))[:3]))
        ink = relative_luminance(np.array(mpl.colors.to_rgb(axes.texts[0].get_color())))
        assert (back + 0.05) / (ink + 0.05) >= 4.5


def test_cells_of_all_matrices_have_one_size():
    figure = plots.matrix([torch.ones(4, 5), torch.ones(2, 2)])
    (axes,) = figure.axes
    extents = [image.get_extent() for image in axes.get_images()]
    assert [(right - left, bottom - top) for left, right, bottom, top in extents] == [
        (5, 4),
        (pytest.approx(2), 2),
    ]
    (x0, y0), (x1, y1) = axes.transData.transform([(0, 0), (1, 1)])
    assert x1 - x0 == pytest.approx(y0 - y1)


def test_highlighted_cells_are_outlined():
    mark = torch.zeros(3, 3, dtype=torch.bool)
    mark[0:2, 1] = True
    (axes,) = plots.matrix(torch.zeros(3, 3), highlight=mark).axes
    outline = axes.collections[-1].get_segments()
    edges = {tuple(map(tuple, np.asarray(segment, int).tolist())) for segment in outline}
    assert edges == {
        ((1, 0), (2, 0)),
        ((1, 2), (2, 2)),
        ((1, 0), (1, 1)),
        ((1, 1), (1, 2)),
        ((2, 0), (2, 1)),
        ((2, 1), (2, 2)),
    }


def test_named_rows_and_columns():
    (axes,) = plots.matrix(torch.ones(2, 1), rows=["first", "second"], columns=["only"]).axes
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["first", "second"]
    assert axes.get_yticks().tolist() == [0.5, 1.5]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["only"]


def test_a_large_matrix_has_a_scale_instead_of_numbers():
    figure = plots.matrix(torch.rand(30, 40), annotate=False)
    (image,) = images(figure)
    assert image.get_cmap().name == "cividis"
    assert len(figure.axes[0].child_axes) == 1
    (image,) = images(plots.matrix(torch.randn(30, 40), annotate=False))
    assert image.get_cmap().name == "RdBu_r"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"values": []}, "values: expected at least one matrix"),
        ({"values": torch.ones(2, 2, 2)}, r"values\[0\]: expected 2 dimensions"),
        ({"values": torch.ones(0, 2)}, r"values\[0\]: expected at least one number"),
        ({"values": torch.ones(2, 25)}, "at most 24 columns to write numbers in, got 25"),
        ({"values": torch.ones(2, 2), "titles": []}, "titles: expected 1, got 0"),
        ({"values": torch.ones(2, 2), "rows": ["a"]}, "rows: expected 2, got 1"),
        ({"values": torch.ones(2, 2), "columns": ["a"]}, "columns: expected 2, got 1"),
        (
            {"values": [torch.ones(1, 1)] * 2, "rows": ["a"]},
            "values with named rows or columns: expected 1, got 2",
        ),
        (
            {"values": [torch.ones(1, 1)] * 2, "annotate": False},
            "values without numbers: expected 1, got 2",
        ),
        (
            {"values": torch.ones(2, 2), "highlight": torch.ones(2, 3) > 0},
            r"highlight: expected shape \(2, 2\)",
        ),
        ({"values": torch.ones(2, 2), "highlight": [None, None]}, "highlight: expected 1, got 2"),
    ],
)
def test_wrong_matrices_are_answered(arguments, message):
    with pytest.raises(ValueError, match=message):
        plots.matrix(**arguments)


def test_a_graph_has_its_boxes_and_arrows_where_they_belong():
    figure = CALLS["graph"]()
    figure.canvas.draw()
    (axes,) = figure.axes
    texts = {text.get_text(): text for text in axes.texts}
    assert {"x = 2", "w = 3", "w x = 6", "3", "2"} <= texts.keys()
    boxes = {name: texts[name].get_window_extent() for name in ("x = 2", "w = 3", "w x = 6")}
    assert boxes["x = 2"].y0 > boxes["w = 3"].y1, "row 0 is above row 1"
    assert boxes["x = 2"].x1 < boxes["w x = 6"].x0
    arrows = [text.arrow_patch for text in axes.texts if getattr(text, "arrow_patch", None)]
    assert len(arrows) == 2
    for arrow, start in zip(arrows, ("x = 2", "w = 3"), strict=True):
        tail = arrow.patchA.get_window_extent()
        assert tail.contains(*boxes[start].get_points().mean(0))
        assert arrow.patchB is texts["w x = 6"].get_bbox_patch()


@pytest.mark.parametrize(
    ("nodes", "edges", "message"),
    [
        ({}, {}, "nodes: expected at least one"),
        ({"a": (0, 0)}, {("a", "b"): ""}, "edges: expected one of 'a', got 'b'"),
    ],
)
def test_wrong_graphs_are_answered(nodes, edges, message):
    with pytest.raises(ValueError, match=message):
        plots.graph(nodes, edges)


def test_planes_show_points_marks_and_the_direction_of_a_field():
    crowd = torch.tensor([[0.5, -1.0], [1.5, 0.0], [0.0, 1.0]])
    figure = plots.planes(
        {"a": crowd, "b": crowd[:2]},
        2,
        fields={"b": lambda x, y: (y, -x)},
        marks=torch.eye(2),
        xlabel="x",
        ylabel="y",
    )
    first, second = figure.axes
    assert [axes.get_title() for axes in (first, second)] == ["a", "b"]
    assert first.get_xlim() == first.get_ylim() == (-2, 2)
    marks, points = (line.get_xydata() for line in first.lines)
    np.testing.assert_allclose(marks, torch.eye(2))
    np.testing.assert_allclose(points, crowd)
    arrows = [c for c in second.collections if isinstance(c, mpl.quiver.Quiver)]
    assert not [c for c in first.collections if isinstance(c, mpl.quiver.Quiver)]
    (field,) = arrows
    x, y = np.array(field.XY).T
    size = np.hypot(x, y).clip(1e-9)
    np.testing.assert_allclose(field.U * size, y, atol=1e-9)
    np.testing.assert_allclose(field.V * size, -x, atol=1e-9)
    shade = np.asarray(field.get_alpha())
    assert shade.argmin() == size.argmin()
    assert shade.max() == 1


def test_a_path_has_its_start_and_its_end():
    path = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.5]])
    (axes,) = plots.planes({"a": path}, 2, joined=True).axes
    line, start, end = (part.get_xydata() for part in axes.lines)
    np.testing.assert_allclose(line, path)
    np.testing.assert_allclose(start, path[:1])
    np.testing.assert_allclose(end, path[-1:])


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ({}, "points: expected at least one set"),
        ({"a": torch.zeros(3)}, r"points\['a'\]: expected shape"),
        ({"a": torch.zeros(3, 3)}, r"points\['a'\]: expected shape"),
    ],
)
def test_wrong_planes_are_answered(points, message):
    with pytest.raises(ValueError, match=message):
        plots.planes(points, 1)
