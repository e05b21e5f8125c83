# SPDX-License-Identifier: MPL-2.0
#
# Turns the block-style YAML of cloud-config documents into shell assignments:
#
#   users:                      ud__users__count=1
#     - name: vm           ->   ud__users__0__name='vm'
#       groups: [a, b]          ud__users__0__groups__0='a' ... __count=2
#
#   awk -v root=ud -f yaml.awk FILE >SHELL
#
# Known: maps, sequences (also "- - x"), plain, 'single' and "double" quoted
# scalars on one line, | and > blocks, flow sequences of scalars on one line.
# Unknown: flow maps, anchors, tags, scalars over several lines. A line that
# makes no sense is reported on standard error and skipped.

BEGIN {
    pending = root # the path that a deeper indented line belongs to
}

function assign(path, text) {
    gsub(/'/, "'\\''", text)
    print path "='" text "'"
}

# --- scalars; what follows one on its line is left in "rest" ---

function scalar(s, plain_end,    text) {
    if (match(s, /^'([^']|'')*'/)) {
        text = substr(s, 2, RLENGTH - 2)
        gsub(/''/, "'", text)
    } else if (match(s, /^"([^"\\]|\\.)*"/)) {
        text = unescape(substr(s, 2, RLENGTH - 2))
    } else {
        match(s, plain_end)
        RLENGTH = RSTART ? RSTART - 1 : length(s)
        text = substr(s, 1, RLENGTH)
        sub(/[ \t]+$/, "", text)
        if (text == "~" || text == "null") {
            text = ""
        }
    }
    rest = substr(s, RLENGTH + 1)
    return text
}

function unescape(s,    text, i, c) {
    while ((i = index(s, "\\")) > 0) {
        text = text substr(s, 1, i - 1)
        c = substr(s, i + 1, 1)
        s = substr(s, i + 2)
        if (c == "n") {
            c = "\n"
        } else if (c == "t") {
            c = "\t"
        } else if (c == "r") {
            c = "\r"
        } else if (c == "e") {
            c = "\033"
        } else if (c == "x") {
            c = utf8(hex(substr(s, 1, 2)))
            s = substr(s, 3)
        } else if (c == "u") {
            c = utf8(hex(substr(s, 1, 4)))
            s = substr(s, 5)
        }
        text = text c
    }
    return text s
}

function hex(digits,    i, n) {
    for (i = 1; i <= length(digits); i++) {
        n = n * 16 + index("0123456789abcdef", tolower(substr(digits, i, 1))) - 1
    }
    return n
}

function utf8(code) {
    if (code < 128) {
        return sprintf("%c", code)
    }
    if (code < 2048) {
        return sprintf("%c%c", 192 + int(code / 64), 128 + code % 64)
    }
    return sprintf("%c%c%c", 224 + int(code / 4096), 128 + int(code / 64) % 64, 128 + code % 64)
}

# --- values ---

function value(path, s, indent) {
    if (s ~ /^[|>][-+0-9]*[ \t]*(#.*)?$/) {
        start_block(path, s, indent)
    } else if (s ~ /^\[/) {
        flow_sequence(path, s)
    } else {
        assign(path, scalar(s, "[ \t]+#"))
    }
}

function flow_sequence(path, s,    n) {
    sub(/^\[[ \t]*/, "", s)
    n = 0
    while (s != "" && s !~ /^\]/) {
        assign(path "__" n++, scalar(s, "[],]"))
        s = rest
        sub(/^[ \t]*,?[ \t]*/, "", s)
        if (s ~ /^\[/) {
            complain("a sequence inside a flow sequence")
            break
        }
    }
    print path "__count=" n
}

# --- | and > blocks ---

function start_block(path, s, indent) {
    in_block = 1
    block_path = path
    block_folds = (s ~ /^>/)
    block_chomps = (s ~ /^.[0-9]*-/)
    block_keeps = (s ~ /^.[0-9]*\+/)
    block_parent = indent
    block_indent = match(s, /[1-9]/) ? indent + substr(s, RSTART, 1) : -1
    block_text = ""
    block_gap = 0 # line ends not yet written
}

function block_line(line) {
    if (block_folds && block_text != "" && block_gap == 1) {
        block_text = block_text " "
    } else {
        block_text = block_text newlines(block_gap - (block_folds && block_text != ""))
    }
    block_text = block_text line
    block_gap = 1
}

function end_block() {
    if (block_keeps) {
        block_text = block_text newlines(block_gap)
    } else if (!block_chomps && block_text != "") {
        block_text = block_text "\n"
    }
    assign(block_path, block_text)
    in_block = 0
}

function newlines(n,    text) {
    while (n-- > 0) {
        text = text "\n"
    }
    return text
}

# --- collections: a stack of those that are open ---

function enter(kind, indent) {
    depth++
    kinds[depth] = kind
    indents[depth] = indent
    paths[depth] = pending
    counts[depth] = 0
}

function leave_deeper_than(indent) {
    while (depth && indents[depth] > indent) {
        depth--
    }
}

function is_key(s) {
    return s ~ /^("[^"]*"|'[^']*'|[^][ \t#:"'{}&*!|>%@][^:]*):([ \t]|$)/
}

function key_line(indent, s,    name, path) {
    leave_deeper_than(indent)
    if (depth && indents[depth] == indent && kinds[depth] == "sequence") {
        depth-- # one indented no deeper than its key has ended
    }
    if (!depth || indents[depth] != indent) {
        enter("map", indent)
    }
    name = scalar(s, ":([ \t]|$)")
    gsub(/[^A-Za-z0-9_]/, "_", name)
    path = paths[depth] "__" name
    s = rest
    sub(/^:[ \t]*/, "", s)
    if (s == "" || s ~ /^#/) {
        pending = path
    } else {
        value(path, s, indent)
    }
}

function item_line(indent, s,    path, inner) {
    leave_deeper_than(indent)
    if (!depth || indents[depth] != indent || kinds[depth] != "sequence") {
        enter("sequence", indent)
    }
    path = paths[depth] "__" counts[depth]++
    print paths[depth] "__count=" counts[depth]
    match(s, /^- */)
    inner = indent + RLENGTH
    s = substr(s, RLENGTH + 1)
    pending = path
    if (s ~ /^-( |$)/) {
        item_line(inner, s)
    } else if (is_key(s)) {
        key_line(inner, s)
    } else if (s != "" && s !~ /^#/) {
        value(path, s, indent)
    }
}

function complain(what) {
    print "yaml: line " NR ": skipped " what >"/dev/stderr"
}

{
    sub(/\r$/, "")
    match($0, /^ */)
    indent = RLENGTH
    text = substr($0, indent + 1)
}

in_block && text == "" {
    block_gap++
    next
}

in_block && indent > block_parent {
    if (block_indent < 0) {
        block_indent = indent
    }
    block_line(substr($0, block_indent + 1))
    next
}

in_block { end_block() }

text == "" || text ~ /^#/ || text ~ /^(---|\.\.\.)/ { next }

text ~ /^-( |$)/ { item_line(indent, text); next }

is_key(text) { key_line(indent, text); next }

{ complain(text) }

END {
    if (in_block) {
        end_block()
    }
}
