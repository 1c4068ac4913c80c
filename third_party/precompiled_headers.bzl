"""Headers of other projects, parsed once instead of in every file that includes them."""

load("@bazel_tools//tools/build_defs/cc:action_names.bzl", "CPP_COMPILE_ACTION_NAME")
load("@bazel_tools//tools/cpp:toolchain_utils.bzl", "find_cpp_toolchain")

def _precompiled_headers(ctx):
    toolchain = find_cpp_toolchain(ctx)
    features = cc_common.configure_features(
        ctx = ctx,
        cc_toolchain = toolchain,
        requested_features = ctx.features,
        unsupported_features = ctx.disabled_features,
    )
    output = ctx.actions.declare_file(ctx.label.name + ".pch")
    includes = []
    for header in ctx.attr.headers:
        includes += ["-include", header]

    # The same flags as of what will use it, which the compiler checks. Templates that the headers use are instantiated here.
    variables = cc_common.create_compile_variables(
        cc_toolchain = toolchain,
        feature_configuration = features,
        # Some file has to be compiled; what it holds is in front of every other one.
        source_file = "/usr/include/stdc-predef.h",
        output_file = output.path,
        user_compile_flags = ctx.fragments.cpp.copts + ctx.fragments.cpp.cxxopts + ctx.attr.copts + includes +
                             ["-fpch-instantiate-templates", "-Xclang", "-emit-pch", "-x", "c++-header"],
        use_pic = True,
        add_legacy_cxx_options = True,
    )
    ctx.actions.run(
        executable = cc_common.get_tool_for_action(
            feature_configuration = features,
            action_name = CPP_COMPILE_ACTION_NAME,
        ),
        arguments = cc_common.get_memory_inefficient_command_line(
            feature_configuration = features,
            action_name = CPP_COMPILE_ACTION_NAME,
            variables = variables,
        ),
        env = cc_common.get_environment_variables(
            feature_configuration = features,
            action_name = CPP_COMPILE_ACTION_NAME,
            variables = variables,
        ),
        inputs = depset(ctx.files.data, transitive = [toolchain.all_files]),
        outputs = [output],
        mnemonic = "PrecompileHeaders",
        progress_message = "Precompiling headers for %s" % ctx.label.name,
    )
    return [
        DefaultInfo(files = depset([output])),
        CcInfo(compilation_context = cc_common.create_compilation_context(headers = depset([output]))),
    ]

precompiled_headers = rule(
    doc = "For cc rules that have it in `deps`, and `-include-pch` of its path in `copts`.",
    implementation = _precompiled_headers,
    attrs = {
        "headers": attr.string_list(doc = "Of the system, as they are included."),
        "copts": attr.string_list(doc = "Those of the rules that use it, as far as they change the language or macros."),
        "data": attr.label_list(allow_files = True, doc = "Files that change with the headers."),
        "_cc_toolchain": attr.label(default = "@bazel_tools//tools/cpp:current_cc_toolchain"),
    },
    fragments = ["cpp"],
    toolchains = ["@bazel_tools//tools/cpp:toolchain_type"],
)
