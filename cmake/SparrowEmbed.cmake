# sparrow_embed(<target> NAME <name> ROOT <folder> FILES <file>...)
# Puts files into the program as they are: the assembler copies them (.incbin), so a megabyte costs
# no compile time and no tool beside the compiler. The target gets a function
#   std::span<const sparrow::http::EmbeddedFile> embedded_<name>();
# whose paths are the file names relative to ROOT, with a leading slash.
function(sparrow_embed target)
  cmake_parse_arguments(ARG "" "NAME;ROOT" "FILES" ${ARGN})
  set(source ${CMAKE_CURRENT_BINARY_DIR}/embedded_${ARG_NAME}.cc)
  set(symbols "")
  set(rows "")
  set(paths "")
  set(index 0)
  foreach(file ${ARG_FILES})
    get_filename_component(path ${ARG_ROOT}/${file} ABSOLUTE)
    list(APPEND paths ${path})
    set(symbol sparrow_embedded_${ARG_NAME}_${index})
    string(APPEND symbols
"asm(\".section .rodata\\n.global ${symbol}_begin\\n.global ${symbol}_end\\n${symbol}_begin:\\n\"
    \".incbin \\\"${path}\\\"\\n${symbol}_end:\\n.byte 0\\n.previous\\n\");
extern \"C\" const char ${symbol}_begin[];
extern \"C\" const char ${symbol}_end[];
")
    string(APPEND rows "    {\"/${file}\", ${symbol}_begin, ${symbol}_end},\n")
    math(EXPR index "${index} + 1")
  endforeach()
  set(content "// Made by sparrow_embed(); do not edit.
#include \"http/static_assets.h\"

${symbols}
namespace sparrow::http {
std::span<const EmbeddedFile> embedded_${ARG_NAME}() {
  static const EmbeddedFile kFiles[] = {
${rows}  };
  return kFiles;
}
}  // namespace sparrow::http
")
  file(GENERATE OUTPUT ${source} CONTENT "${content}")
  set_source_files_properties(${source} PROPERTIES GENERATED ON OBJECT_DEPENDS "${paths}")
  target_sources(${target} PRIVATE ${source})
endfunction()
