"""Fuzz targets: each as a libFuzzer program, and as a test that replays and mutates the seeds."""

load("//third_party:build_defs.bzl", "weft_cc_binary", "weft_cc_test")

def fuzz_target(name, srcs, seeds, deps, mutations = 2000, **kwargs):
    """A function LLVMFuzzerTestOneInput.

    Args:
      name: NAME is the libFuzzer program (see run.sh), NAME_test the test.
      srcs: where the function is.
      seeds: a program that writes seed files into the folder given to it.
      deps: libraries.
      mutations: of each seed, in the test.
      **kwargs: mlir.
    """
    weft_cc_binary(
        name = name,
        testonly = True,
        srcs = srcs,
        # Needs --config=fuzz.
        linkopts = ["-fsanitize=fuzzer"],
        tags = ["manual"],
        deps = deps,
        **kwargs
    )
    native.genrule(
        name = name + "_seeds",
        testonly = True,
        outs = [name + "_seeds.tar"],
        # Sorted, and without times and owners: equal seeds give equal bytes.
        cmd = """
folder=$$(mktemp -d)
$(execpath {seeds}) $$folder
tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C $$folder -cf $@ .
rm -r $$folder
""".format(seeds = seeds),
        tools = [seeds],
    )
    weft_cc_test(
        name = name + "_test",
        srcs = srcs + ["replay.cc"],
        args = ["$(location %s_seeds.tar)" % name, str(mutations)],
        data = [name + "_seeds.tar"],
        main = False,
        deps = deps,
        **kwargs
    )
