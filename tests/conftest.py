"""Where kernels run in this session: on a GPU if there is one, else under Triton's interpreter."""

import os

import hypothesis
import pytest
import torch

hypothesis.settings.register_profile("house", deadline=None)  # a loaded machine is no fault
hypothesis.settings.load_profile("house")

ON_GPU = torch.cuda.is_available()
if not ON_GPU:
    os.environ["TRITON_INTERPRET"] = "1"  # read when a kernel is defined, so before any import


@pytest.fixture(scope="session")
def kernel_device() -> torch.device:
    return torch.device("cuda" if ON_GPU else "cpu")


def pytest_report_header() -> str:
    name = torch.cuda.get_device_name() if ON_GPU else "Triton's interpreter, no GPU"
    return f"kernels run on: {name}; torch {torch.__version__}"


# What `make quick` leaves out, of the folders that it runs: by file, and by test.
SLOW_FILES = {
    "test_compiling.py", "test_edges.py", "test_parallel.py", "test_permutation.py",
    "test_slow_even_tree.py", "test_warming.py",
}  # fmt: skip
SLOW = {
    "test_a_million_classes_are_planned_within_seconds",
    "test_a_million_weights_are_read_in_seconds",
    "test_a_schedule_is_followed_to_a_bound",
    "test_a_state_and_what_is_kept_do_not_grow_with_changes",
    "test_labels_that_another_thread_writes_never_break_a_process",
    "test_listed_draws_are_those_of_runs",
    "test_neither_import_nor_the_cpu_path_loads_triton",
    "test_one_compiled_graph_serves_all_batches_and_segments",
    "test_the_editable_install_runs_from_the_sources",
    "test_the_same_seed_gives_the_same_batches_in_another_process",
    "test_the_wheel_holds_both_packages_and_nothing_else",
    "test_the_wheel_is_of_one_kind_of_machine_with_its_library_for_each_level",
    "test_the_wheel_runs_where_the_sources_are_not",
    "test_what_does_not_belong_together_never_reaches_a_loop",
}


def pytest_itemcollected(item: pytest.Item) -> None:
    if item.path.name in SLOW_FILES or getattr(item, "originalname", "") in SLOW:
        item.add_marker("slow")
