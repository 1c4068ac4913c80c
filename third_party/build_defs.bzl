"""Weft's build rules: C++ with precompiled headers and a switch for MLIR, TableGen, and files embedded in a program."""

# LLVM and MLIR are built without run-time type information; a class derived from theirs has to be as well.
_NO_RTTI = ["-fno-rtti"]

# The code of a test runs once or twice: without optimisation it compiles in half of the time. What it tests is optimised.
NOT_OPTIMIZED = ["-O0", "-U_FORTIFY_SOURCE"]

# Precompiled headers are for one language, which these change.
_OTHER_LANGUAGE = ["-fno-exceptions"] + _NO_RTTI

def _cc(kwargs, mlir):
    """The arguments of a C++ rule, completed."""
    sources = [source for source in kwargs.get("srcs", []) if source.endswith((".c", ".cc"))]
    copts = list(kwargs.pop("copts", []))
    deps = list(kwargs.pop("deps", []))
    if any([source.endswith("_test.cc") for source in sources]):
        copts += NOT_OPTIMIZED
    in_cpp = len(sources) > 0 and all([source.endswith(".cc") for source in sources])
    if in_cpp and not any([copt in _OTHER_LANGUAGE for copt in copts]):
        headers = ("mlir" if mlir else "common") + "_headers" + ("_not_optimized" if "-O0" in copts else "")
        copts += ["-include-pch", "$(BINDIR)/third_party/%s.pch" % headers]
        deps.append("//third_party:" + headers)
    if mlir:
        copts += _NO_RTTI
        deps.append("@llvm//:mlir")
    return dict(kwargs, copts = copts, deps = deps)

def _program(kwargs, mlir):
    kwargs["deps"] = kwargs.get("deps", []) + ["//third_party:sanitizer_options"]
    return _cc(kwargs, mlir)

def weft_cc_library(name, mlir = False, **kwargs):
    """cc_library; `mlir = True` for code that includes LLVM's or MLIR's headers."""
    native.cc_library(name = name, **_cc(kwargs, mlir))

def weft_cc_binary(name, mlir = False, **kwargs):
    """cc_binary; `mlir` as in weft_cc_library."""
    native.cc_binary(name = name, **_program(kwargs, mlir))

def weft_cc_test(name, mlir = False, main = True, size = "small", **kwargs):
    """cc_test with GoogleTest; `main = False` for a test that brings its own main function."""
    kwargs["deps"] = kwargs.get("deps", []) + ["@gtest//:gtest_main" if main else "@gtest"]
    native.cc_test(name = name, size = size, **_program(kwargs, mlir))

def td_library(name, srcs, deps = [], **kwargs):
    """TableGen files that others include, as "folder/file.td" from the top of the tree."""
    native.filegroup(name = name, srcs = srcs + deps, **kwargs)

def tablegen(name, src, outs, deps = [], tool = "@llvm//:mlir-tblgen", visibility = None):
    """Runs a TableGen generator over `src`, once for each output.

    Args:
      name: a cc_library of the outputs, which are included as "folder/output".
      src: the .td file.
      outs: {output file: generator options}.
      deps: td_library targets.
      tool: the generator: mlir-tblgen, or a program of ours around llvm::TableGenMain.
      visibility: of the library and of the outputs.
    """
    for out, options in outs.items():
        native.genrule(
            name = "%s_%s" % (name, out.replace("/", "_")),
            srcs = [src, "@llvm//:td_files"] + deps,
            outs = [out],
            cmd = "$(execpath %s) %s $(execpath %s) -I . -I $(GENDIR) -I external/llvm/include -o $@" %
                  (tool, options, src),
            message = "TableGen",
            tools = [tool],
            visibility = visibility,
        )
    native.cc_library(
        name = name,
        textual_hdrs = outs.keys(),
        visibility = visibility,
    )

def embed_file(name, src, function, visibility = None, **kwargs):
    """Puts the bytes of `src` into the program.

    Args:
      name: a cc_library whose header "folder/name.h" declares `std::string_view weft::FUNCTION()`.
      src: the file.
      function: a name unique in the program. The bytes are aligned to 64 and followed by a zero byte.
      visibility: of the library.
      **kwargs: testonly, tags.
    """
    native.genrule(
        name = name + "_sources",
        srcs = [src],
        outs = [name + ".h", name + ".S"],
        cmd = """
cat > $(execpath {name}.h) <<'END'
#pragma once
#include <string_view>
extern "C" const char weft_embedded_{function}[];
extern "C" const char weft_embedded_{function}_end[];
namespace weft {{
inline std::string_view {function}() {{
  return std::string_view(weft_embedded_{function},
                          weft_embedded_{function}_end - weft_embedded_{function});
}}
}}  // namespace weft
END
# The assembler reads the file behind Bazel's back, so the source says which contents it stands for.
echo "# $$(sha256sum < $(execpath {src}))" > $(execpath {name}.S)
cat >> $(execpath {name}.S) <<'END'
.section .rodata.weft_embedded_{function},"a",@progbits
.balign 64
.globl weft_embedded_{function}, weft_embedded_{function}_end
weft_embedded_{function}:
.incbin "$(execpath {src})"
weft_embedded_{function}_end:
.byte 0
.section .note.GNU-stack,"",@progbits
END
""".format(name = name, function = function, src = src),
        visibility = ["//visibility:private"],
        **kwargs
    )
    native.cc_library(
        name = name,
        srcs = [name + ".S"],
        hdrs = [name + ".h"],
        # An input of the assembler, which reads it by .incbin.
        textual_hdrs = [src],
        visibility = visibility,
        **kwargs
    )

# What no library of the compiler knows: of the runtime it uses what lays a plan out (core,
# plan_tables, memory, blame), what packages state of GPUs' kernels (contraction, tensor_map), and
# cpu_features alone.
ABOVE_COMPILER = [
    "//runtime/cpu",
    "//runtime/cuda",
    "//runtime/ptx_emulator",
    "//runtime/testing",
    "//runtime:c_api",
    "//runtime:device",
    "//runtime:devices",
    "//runtime:package",
    "//runtime:session",
    "//tests",
    "//tools",
]

def _forbid_deps_test(name, targets, program, forbidden, **kwargs):
    native.genquery(
        name = name + "_deps",
        # A query knows no relative labels.
        expression = "deps(set(%s))" % " ".join(["//%s%s" % (native.package_name(), t) for t in targets]),
        scope = targets,
        testonly = True,
    )
    native.sh_test(
        name = name,
        size = "small",
        srcs = ["//third_party:forbid_deps.sh"],
        args = ["$(rootpath :%s_deps)" % name, "$(rootpath %s)" % program if program else "''"] + forbidden,
        data = [":%s_deps" % name] + ([program] if program else []),
        **kwargs
    )

def forbid_program_deps_test(name, program, forbidden, **kwargs):
    """Fails when a program depends on, or loads, what it must not.

    Args:
      name: the test.
      program: a cc_binary of the same BUILD file (":name").
      forbidden: label prefixes, a repository ("@llvm/") or a top-level folder ("//graph").
      **kwargs: tags and the like.
    """
    _forbid_deps_test(name, [program], program, forbidden, **kwargs)

def layer_test(forbidden, **kwargs):
    """Fails when a library or program of this BUILD file depends on a layer that it must not know. Comes last in the file.

    Args:
      forbidden: labels ("//runtime:session") or prefixes of some, a repository ("@llvm") or a folder ("//graph").
      **kwargs: tags and the like.
    """
    targets = [
        ":" + name
        for name, rule in native.existing_rules().items()
        if rule["kind"] in ["cc_library", "cc_binary"] and not rule.get("testonly")
    ]
    _forbid_deps_test("layer_test", targets, None, forbidden, **kwargs)
