"""Source code by the names of files. Languages are named as in tree-sitter-language-pack."""

import re
from typing import Final

_EXTENSIONS: Final = {
    "ada": "adb ads",
    "asm": "asm s",
    "bash": "bash ksh sh",
    "batch": "bat cmd",
    "c": "c h",
    "clojure": "clj cljc cljs edn",
    "cmake": "cmake",
    "commonlisp": "lisp lsp cl",
    "cpp": "cc cpp cxx c++ hh hpp hxx ino",
    "crystal": "cr",
    "csharp": "cs csx",
    "css": "css",
    "cuda": "cu cuh",
    "d": "d",
    "dart": "dart",
    "diff": "diff patch",
    "dockerfile": "dockerfile",
    "elisp": "el",
    "elixir": "ex exs",
    "elm": "elm",
    "erlang": "erl hrl",
    "fish": "fish",
    "fortran": "f f77 f90 f95 f03 for",
    "fsharp": "fs fsi fsx",
    "go": "go",
    "graphql": "gql graphql",
    "groovy": "gradle groovy",
    "haskell": "hs",
    "hcl": "hcl",
    "ini": "cfg conf ini properties",
    "java": "java",
    "javascript": "cjs js jsx mjs",
    "julia": "jl",
    "kotlin": "kt kts",
    "latex": "cls sty tex",
    "less": "less",
    "lua": "lua",
    "make": "mak mk",
    "nim": "nim",
    "nix": "nix",
    "objc": "m mm",
    "ocaml": "ml",
    "ocaml_interface": "mli",
    "pascal": "dpr pas pp",
    "perl": "pl pm",
    "php": "php phtml",
    "powershell": "ps1 psd1 psm1",
    "proto": "proto",
    "python": "py pyi pyw",
    "r": "r",
    "racket": "rkt",
    "rst": "rst",
    "ruby": "gemspec rake rb",
    "rust": "rs",
    "scala": "sbt sc scala",
    "scheme": "scm ss",
    "scss": "scss",
    "solidity": "sol",
    "sql": "ddl dml sql",
    "svelte": "svelte",
    "swift": "swift",
    "systemverilog": "sv svh",
    "tcl": "tcl",
    "terraform": "tf tfvars",
    "toml": "toml",
    "tsx": "tsx",
    "typescript": "cts mts ts",
    "vb": "vb",
    "vhdl": "vhd vhdl",
    "vim": "vim",
    "vue": "vue",
    "xml": "atom plist rdf rss svg wsdl xml xsd xsl xslt",
    "yaml": "yaml yml",
    "zig": "zig",
    "zsh": "zsh",
}
_NAMES: Final = {
    "cmakelists.txt": "cmake",
    "containerfile": "dockerfile",
    "dockerfile": "dockerfile",
    "gemfile": "ruby",
    "gnumakefile": "make",
    "jenkinsfile": "groovy",
    "makefile": "make",
    "rakefile": "ruby",
}
_INTERPRETERS: Final = {
    "bash": "bash",
    "dash": "bash",
    "elixir": "elixir",
    "lua": "lua",
    "node": "javascript",
    "perl": "perl",
    "php": "php",
    "pwsh": "powershell",
    "python": "python",
    "ruby": "ruby",
    "rscript": "r",
    "sh": "bash",
    "zsh": "zsh",
}
_SHEBANG: Final = re.compile(rb"#![^\n]{0,200}?([A-Za-z]+)[\d.]*[ \t]*(?:-[^\n]{0,100})?\r?\n")

_BY_EXTENSION: Final = {ending: name for name, endings in _EXTENSIONS.items() for ending in endings.split()}


def language_of(name: str, data: bytes) -> str:
    """ "" if neither the file's name nor its first line tells."""
    base = re.split(r"[/\\]", name)[-1].lower()
    named = _NAMES.get(base) or _BY_EXTENSION.get(base.rpartition(".")[2] if "." in base else "")
    if named:
        return named
    shebang = _SHEBANG.match(data)
    return _INTERPRETERS.get(shebang[1].decode("ascii").lower(), "") if shebang else ""
