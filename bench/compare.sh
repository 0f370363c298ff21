#!/usr/bin/env bash
# Puts this module side by side with what people use without it, and prints a
# Markdown table. Everything stays on loopback. It needs go, wrk and curl; nginx
# and haproxy are left out where they aren't installed (Debian: apt-get install
# wrk curl nginx-light haproxy).
#
#   bash bench/compare.sh               all of it, about 4 minutes and the builds
#   ROUNDS=1 SECONDS_EACH=1 bash bench/compare.sh
#
# ROUNDS (5), SECONDS_EACH (4), CONNECTIONS (32), PORT (19000, and the 20 after it),
# BARE and OURS (paths of ready Caddy binaries; default: built from this tree).
#
# In each round every variant runs once, every second round in reverse order, so
# that a machine that gets warm or busy treats them alike. A ratio is the median of
# the rounds' own ratios. CPU time is what the server's processes took, user and
# system, over the requests that were answered: it is steadier than rates, and needs
# Linux's /proc.
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=${ROUNDS:-5}
seconds=${SECONDS_EACH:-4}
connections=${CONNECTIONS:-32}
port=${PORT:-19000}

say() { echo "compare: $*" >&2; }
die() { say "$*"; exit 1; }

for tool in go wrk curl awk sort; do
	command -v "$tool" >/dev/null || die "$tool is needed and not installed"
done

work=$(mktemp -d)
pids=()
finish() {
	for pid in "${pids[@]}"; do
		kill "$pid" 2>/dev/null || true
	done
	for pid in "${pids[@]}"; do
		wait "$pid" 2>/dev/null || true
	done
	rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM

# Caddy keeps what it stores away from the user's own.
export XDG_DATA_HOME=$work/data XDG_CONFIG_HOME=$work/config
export PAGE_DIR=$work/page UPSTREAM_PORT=$((port + 1)) REFUSING_PORT=$((port + 2))
mkdir -p "$PAGE_DIR"

bare=${BARE:-$work/caddy-bare}
ours=${OURS:-$work/caddy-ours}
say "building"
[[ -n ${BARE:-} ]] || go build -o "$bare" ./bench/bare
[[ -n ${OURS:-} ]] || go build -o "$ours" ./cmd/caddy
go build -o "$work/upstream" ./bench/upstream

# start <name> <command>...: its log goes to a file that is shown if it dies.
start() {
	local name=$1
	shift
	"$@" >/dev/null 2>"$work/$name.log" </dev/null &
	pids+=($!)
	printf -v "${name}_pid" %d $!
}

# await <url>: until somebody answers, whatever it is.
await() {
	local i
	for ((i = 0; i < 100; i++)); do
		curl -s -o /dev/null --max-time 2 "$1" && return
		sleep 0.1
	done
	die "nobody answers at $1: is a port from $port on taken?"
}

# expect <status> <least bytes> <url>: a wrong answer is fast, too.
expect() {
	local got
	got=$(curl -s -o "$work/answer" -D "$work/head" --max-time 5 -w '%{http_code} %{size_download}' -H 'Accept: text/html' "$3")
	[[ ${got% *} == "$1" && ${got#* } -ge $2 ]] || die "$3 answers \"$got\", not $1 with at least $2 bytes"
}

if curl -s -o /dev/null --max-time 2 "http://127.0.0.1:$REFUSING_PORT/"; then
	die "port $REFUSING_PORT must refuse connections, and somebody listens there"
fi

start upstream "$work/upstream" "127.0.0.1:$UPSTREAM_PORT"

bare_working=$((port + 10)) bare_failing=$((port + 11)) file=$((port + 12)) template=$((port + 13))
ours_working=$((port + 14)) ours_failing=$((port + 15)) nginx=$((port + 16)) haproxy=$((port + 17))

ADMIN_PORT=$((port + 4)) WORKING_PORT=$ours_working FAILING_PORT=$ours_failing \
	start ours "$ours" run --config bench/ours.Caddyfile --adapter caddyfile
await "http://127.0.0.1:$ours_failing/"

# The page that the others serve is ours, byte for byte; the template has the
# error's id where ours has the failure's.
expect 502 500 "http://127.0.0.1:$ours_failing/"
cp "$work/answer" "$PAGE_DIR/page.html"
size=$(wc -c <"$PAGE_DIR/page.html")
id=$(awk 'tolower($1) == "upstream-failure-id:" { gsub(/[^A-Za-z0-9]/, "", $2); print $2 }' "$work/head")
[[ -n $id ]] || die "our answer has no Upstream-Failure-Id"
sed "s/$id/{{placeholder \"http.error.id\"}}/g" "$PAGE_DIR/page.html" >"$PAGE_DIR/template.html"
{
	printf 'HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/html; charset=utf-8\r\nCache-Control: no-store\r\nContent-Length: %d\r\n\r\n' "$size"
	cat "$PAGE_DIR/page.html"
} >"$PAGE_DIR/page.http"

ADMIN_PORT=$((port + 3)) WORKING_PORT=$bare_working FAILING_PORT=$bare_failing FILE_PORT=$file TEMPLATE_PORT=$template \
	start bare "$bare" run --config bench/bare.Caddyfile --adapter caddyfile
await "http://127.0.0.1:$bare_failing/"

# fill <file> <port>: puts this run's places into a server's config.
fill() {
	sed -e "s|@WORK@|$work|g" -e "s|@PAGE_DIR@|$PAGE_DIR|g" -e "s|@PORT@|$2|g" -e "s|@REFUSING_PORT@|$REFUSING_PORT|g" "bench/$1" >"$work/$1"
}

have_nginx= have_haproxy=
PATH=$PATH:/usr/sbin:/sbin
if command -v nginx >/dev/null; then
	have_nginx=$(nginx -v 2>&1 | sed 's/.*nginx\//nginx /')
	fill nginx.conf "$nginx"
	chmod -R a+rX "$work" # its workers may run as nobody
	start nginx nginx -p "$work" -c "$work/nginx.conf"
	await "http://127.0.0.1:$nginx/"
fi
if command -v haproxy >/dev/null; then
	have_haproxy=$(haproxy -v | sed -n '1s/.*version \([^ ]*\).*/HAProxy \1/p')
	fill haproxy.cfg "$haproxy"
	start haproxy haproxy -db -f "$work/haproxy.cfg"
	await "http://127.0.0.1:$haproxy/"
fi

# name|port|process; a ratio is to the first, or to the third
working=(
	"bare \`reverse_proxy\`|$bare_working|$bare_pid"
	"with this module|$ours_working|$ours_pid"
)
failing=(
	"bare \`reverse_proxy\`: empty 502|$bare_failing|$bare_pid"
	"with this module: record and page|$ours_failing|$ours_pid"
	"\`handle_errors\` and \`file_server\`|$file|$bare_pid"
	"\`handle_errors\` and \`templates\`|$template|$bare_pid"
)
expect 200 1024 "http://127.0.0.1:$bare_working/"
expect 200 1024 "http://127.0.0.1:$ours_working/"
expect 502 0 "http://127.0.0.1:$bare_failing/"
expect 502 "$size" "http://127.0.0.1:$file/"
expect 502 "$((size - 8))" "http://127.0.0.1:$template/"
if [[ -n $have_nginx ]]; then
	expect 502 "$size" "http://127.0.0.1:$nginx/"
	failing+=("nginx \`error_page\`|$nginx|$nginx_pid")
fi
if [[ -n $have_haproxy ]]; then
	expect 503 "$size" "http://127.0.0.1:$haproxy/"
	failing+=("HAProxy \`errorfile\`|$haproxy|$haproxy_pid")
fi

# ticks <process>: the CPU time that it and its children have taken, in clock ticks; 0
# where that can't be read. In /proc/<pid>/stat it follows the name, which may have
# blanks in it, as the 12th and 13th field (proc(5): utime, stime).
ticks() {
	local process
	for process in "$1" $(cat "/proc/$1/task/$1/children" 2>/dev/null); do
		cat "/proc/$process/stat" 2>/dev/null || true
	done | sed 's/.*) //' | awk '{ sum += $12 + $13 } END { print sum + 0 }'
}
tick_us=$((1000000 / $(getconf CLK_TCK)))

# run <variant> <seconds>: requests a second, and microseconds of CPU time a request.
run() {
	local out before name server process
	IFS='|' read -r name server process <<<"$1"
	before=$(ticks "$process")
	out=$(wrk -t1 -c"$connections" -d"$2s" -H 'Accept: text/html' "http://127.0.0.1:$server/")
	if grep -q 'Socket errors' <<<"$out"; then
		say "$name: $(grep 'Socket errors' <<<"$out")"
	fi
	awk -v us="$((($(ticks "$process") - before) * tick_us))" '
		/ requests in / { answered = $1 }
		/^Requests\/sec:/ { print $2, us / answered }' <<<"$out"
}

# measure <label> <variant>...: leaves a line "round index rate cpu" for each run.
measure() {
	local label=$1 count round i order
	shift
	local variants=("$@")
	count=${#variants[@]}
	say "$label: warming up"
	for ((i = 0; i < count; i++)); do
		run "${variants[i]}" 1 >/dev/null
	done
	: >"$work/runs"
	for ((round = 1; round <= rounds; round++)); do
		say "$label: round $round of $rounds"
		order=$(seq 0 $((count - 1)))
		((round % 2)) || order=$(seq $((count - 1)) -1 0)
		for i in $order; do
			echo "$round $i $(run "${variants[i]}" "$seconds")" >>"$work/runs"
		done
	done
}

# median of the numbers on stdin
median() {
	sort -n | awk '{ v[NR] = $1 } END { if (NR % 2) print v[(NR + 1) / 2]; else print (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}

# What a run left besides its round and index.
rate=3 cpu=4

# ratio <column> <index> <index of what it is compared with>
ratio() {
	awk -v column="$1" -v a="$2" -v b="$3" '
		$2 == a { x[$1] = $column }
		$2 == b { y[$1] = $column }
		END { for (r in x) print y[r] ? x[r] / y[r] : 0 }' "$work/runs" | median | awk '{ printf "%.2f", $1 }'
}

# middle <column> <index>
middle() {
	awk -v column="$1" -v a="$2" '$2 == a { print $column }' "$work/runs" | median | awk '{ printf "%.0f", $1 }'
}

model=$(awk -F': *' '/^model name/ { print $2; exit }' /proc/cpuinfo 2>/dev/null || true)
{
	echo "Machine: ${model:-unknown CPU}, $(getconf _NPROCESSORS_ONLN) cores, $(uname -s) $(uname -r)."
	echo "$(go version | awk '{ print $3 }' | sed 's/go/Go /'), Caddy $(go list -m -f '{{.Version}}' github.com/caddyserver/caddy/v2)${have_nginx:+, $have_nginx}${have_haproxy:+, $have_haproxy}."
	echo "wrk -t1 -c$connections, medians of $rounds rounds of $seconds s each, page of $size bytes."
	echo
} >"$work/table"

measure "going well" "${working[@]}"
{
	echo "| the upstream works | requests/s | of bare | CPU µs a request | of bare |"
	echo "|---|---:|---:|---:|---:|"
	for i in "${!working[@]}"; do
		echo "| ${working[i]%%|*} | $(middle $rate "$i") | $(ratio $rate "$i" 0) | $(middle $cpu "$i") | $(ratio $cpu "$i" 0) |"
	done
	echo
} >>"$work/table"

measure "failing" "${failing[@]}"
{
	echo "| the upstream refuses | requests/s | of bare | of \`handle_errors\` and \`file_server\` | CPU µs a request | of bare |"
	echo "|---|---:|---:|---:|---:|---:|"
	for i in "${!failing[@]}"; do
		echo "| ${failing[i]%%|*} | $(middle $rate "$i") | $(ratio $rate "$i" 0) | $(ratio $rate "$i" 2) | $(middle $cpu "$i") | $(ratio $cpu "$i" 0) |"
	done
} >>"$work/table"

cat "$work/table"
