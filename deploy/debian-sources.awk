# Keeps the entries of an apt sources file that provide Debian itself: component
# main, of this release or of a suite by its general name. Others that a machine
# may have (vendors' repositories) are left out, and so are disabled ones.
#
# Variables: format "list" (one line an entry) or "sources" (deb822); type, the
# type that the entries get (deb or deb-src); codename, this machine's release.

function is_debian(suites, components,    word, n, i, ok) {
	ok = 0
	n = split(suites, word, /[ \t\n]+/)
	for (i = 1; i <= n; i++) {
		sub(/(-updates|-security|\/updates)$/, "", word[i])
		if (word[i] != "" && (word[i] == codename ||
		    word[i] ~ /^((old)*stable|testing|unstable|sid)$/))
			ok = 1
	}
	return ok && (" " components " ") ~ /[ \t\n]main[ \t\n]/
}

function list_entry(line,    rest, options, field, n, i, components) {
	if (line !~ /^[ \t]*deb[ \t]/)
		return
	rest = line
	sub(/#.*/, "", rest)
	sub(/^[ \t]*deb[ \t]+/, "", rest)
	options = ""
	if (match(rest, /^\[[^]]*\][ \t]*/)) {
		options = substr(rest, 1, RLENGTH)
		rest = substr(rest, RLENGTH + 1)
	}
	n = split(rest, field, /[ \t]+/)
	components = ""
	for (i = 3; i <= n; i++)
		components = components " " field[i]
	if (is_debian(field[2], components))
		print type, options rest
}

# Lines are gathered into a paragraph; a field's value runs on over the lines
# that begin with a space.
function paragraph_line(line,    name, value) {
	if (line ~ /^#/)
		return
	if (line ~ /^[ \t]*$/) {
		paragraph_end()
		return
	}
	if (line ~ /^[ \t]/) {
		fields[last] = fields[last] "\n" line
	} else {
		name = line
		sub(/:.*/, "", name)
		last = tolower(name)
		value = line
		sub(/^[^:]*:/, "", value)
		fields[last] = value
	}
	if (last == "types")
		return
	text = text line "\n"
}

function paragraph_end() {
	if ((" " fields["types"] " ") ~ /[ \t\n]deb[ \t\n]/ &&
	    tolower(fields["enabled"]) !~ /no|false|off|0/ &&
	    is_debian(fields["suites"], fields["components"]))
		printf("Types: %s\n%s\n", type, text)
	text = ""
	split("", fields)
}

format == "list" { list_entry($0) }
format == "sources" { paragraph_line($0) }
END { if (format == "sources") paragraph_end() }
