# monitoring/: Debian's prometheus-postgres-exporter with our queries, as the role README has a recipe for, shows what the views say;
# alert rules and dashboard ask for nothing that it does not show.

use strict;
use warnings;

use HTTP::Tiny;
use ImageKit::Test;
use IPC::Run ();
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my ($exporter, $promtool) = @ENV{qw(POSTGRES_EXPORTER PROMTOOL)};
plan skip_all => 'no prometheus-postgres-exporter or promtool: test/install-dependencies fetches them' unless $exporter && $promtool;
my $monitoring = "$ENV{TESTDIR}/monitoring";

# Rules and their tests --------------------------------------------------------------------------------------------------

for my $command ([ 'check', 'rules', "$monitoring/alerts.yml" ], [ 'test', 'rules', "$monitoring/alerts_test.yml" ])
{
	my ($output, $status);
	$status = IPC::Run::run([ $promtool, @$command ], '>&', \$output);
	ok($status, "promtool $command->[0] $command->[1]") or diag $output;
}
my @named = slurp_file("$monitoring/alerts.yml") =~ /- alert: (\w+)/g;
my $tests = slurp_file("$monitoring/alerts_test.yml");
is(join(' ', grep { $tests !~ /alertname="$_"/ } @named), '', 'each alert has a test in which it fires');

# A scrape ---------------------------------------------------------------------------------------------------------------

my $t = ImageKit::Test->new;
my ($node, $imagekit) = ($t->node, $t->imagekit);
my ($recipe) = slurp_file("$ENV{TESTDIR}/README.md") =~ /^(-- may measure.*?)^(?:--|```)/ms or die 'README has no recipe for the exporter';
$t->sql("CREATE ROLE exporter LOGIN; $recipe");
$imagekit->fault(kind => 'rate_limited', method => 'GET', reset => 50);
$t->insert(1, map { "$_.jpg" } 1 .. 30);
$t->sql('DELETE FROM patches');
wait_for { $t->pending eq '0' && $t->worker eq '' } 'all is done and written';
# Something of everything: held, failed, waiting.
$t->sql(q{ALTER SERVER acme OPTIONS (ADD hold_above '5')});
$t->insert(2, map { "held$_.jpg" } 1 .. 8);
$t->sql("DELETE FROM patches; SELECT imagekit.enqueue(ARRAY['$ENDPOINT/no%zzurl.jpg']); SELECT imagekit.enqueue('{$ENDPOINT/later.jpg}', '1 hour')");
wait_for { $t->sql('SELECT held, failed FROM imagekit.metrics') eq '8|1' && $t->worker eq '' } 'held and failed';

# A library that was audited.
$imagekit->seed('/used.jpg', '/orphan1.jpg', '/orphan2.jpg');
$t->sql("INSERT INTO modules VALUES (1, '{$ENDPOINT/used.jpg,$ENDPOINT/nowhere.jpg}')");
$t->sql(q{CALL imagekit.audit('acme')});

my $port = PostgreSQL::Test::Cluster::get_free_port();
my $log = '';
my $running = IPC::Run::start([ $exporter, "--web.listen-address=127.0.0.1:$port", '--disable-default-metrics', '--disable-settings-metrics',
	"--extend.query-path=$monitoring/postgres_exporter.yml" ], '<', \undef, '>&', \$log,
	init => sub { $ENV{DATA_SOURCE_NAME} = 'user=exporter dbname=postgres sslmode=disable host=' . $node->host . ' port=' . $node->port });
END { local $?; $running->kill_kill if $running; }
my $http = HTTP::Tiny->new(timeout => 10);
sub scrape { my $answer = $http->get("http://127.0.0.1:$port/metrics"); return $answer->{success} ? $answer->{content} : ''; }
my $text = wait_for { $running->pump_nb; my $text = scrape(); $text =~ /^imagekit_queue_depth/m ? $text : '' } 'the exporter answers';
like($text, qr/^pg_exporter_user_queries_load_error\{.*\} 0$/m, 'it has read the queries');
like($text, qr/^pg_exporter_last_scrape_error\S* 0$/m, 'and could run them') or diag $log;

# name{label="value",...} => value, without the exporter's own label for the server.
my %seen;
for my $line (grep { /^imagekit_/ } split(/\n/, $text))
{
	my ($name, $labels, $value) = $line =~ /^(\w+)\{(.*)\} (\S+)$/ or die "cannot read: $line";
	$seen{ $name . '{' . join(',', sort grep { !/^server=/ } split(/,/, $labels)) . '}' } = $value;
}
my $of = 'account="acme",datname="postgres"';
my %expected;
my $row = decode_json($t->sql('SELECT to_json(m) FROM imagekit.metrics m'));
my %columns = (queue_depth => 'queue_depth', held_files => 'held', dead_letters => 'failed', purges_waiting => 'purges_waiting', attempts_total => 'attempts',
	failed_attempts_total => 'failed_attempts', deleted_total => 'deleted', not_found_total => 'not_found', kept_total => 'kept', skipped_total => 'skipped',
	queue_is_estimate => 'queue_is_estimate', enabled => 'enabled', armed => 'armed', preloaded => 'preloaded', launcher_running => 'launcher_running', worker_running => 'worker_running');
$expected{"imagekit_${_}{$of}"} = $row->{ $columns{$_} } + 0 for keys %columns;
$expected{"imagekit_stopped{$of}"} = $expected{"imagekit_breaker_open{$of}"} = $expected{"imagekit_oldest_due_age_seconds{$of}"} = 0;
for my $line (split(/\n/, $t->sql('SELECT request, status, requests FROM imagekit.request_metrics')))
{
	my ($request, $status, $requests) = split(/\|/, $line);
	$expected{"imagekit_requests_total{$of,request=\"$request\",status=\"$status\"}"} = $requests;
}
my %histograms = (request => 'imagekit_request_seconds', delete => 'imagekit_delete_latency_seconds');
for my $line (split(/\n/, $t->sql('SELECT what, le, count, sum FROM imagekit.latency_metrics')))
{
	my ($what, $le, $count, $sum) = split(/\|/, $line);
	$le = '+Inf' if $le eq 'Infinity';
	$expected{"$histograms{$what}_bucket{$of,le=\"$le\"}"} = $count;
	@expected{ map { "$histograms{$what}_$_\{$of}" } 'sum', 'count' } = ($sum, $count) if $le eq '+Inf';
}
my $library = decode_json($t->sql('SELECT to_json(l) FROM imagekit.library_metrics l'));
my %of_library = (files => 'files', bytes => 'bytes', orphans => 'orphans', orphan_bytes => 'orphan_bytes', doubtful => 'doubtful', dangling_urls => 'dangling',
	counted_bytes => 'counted_bytes');
$expected{"imagekit_library_${_}{$of}"} = $library->{ $of_library{$_} } for keys %of_library;
$expected{"imagekit_audit_overdue{$of}"} = 0;
my $age = delete $seen{"imagekit_library_audit_age_seconds{$of}"};
ok($age > 0 && $age < 600, 'the audit was a moment ago');
sub lines { my (%values) = @_; return join("\n", map { sprintf('%s %.6g', $_, $values{$_}) } sort keys %values); }
is(lines(%seen), lines(%expected), 'every figure of the views, and no other');
cmp_ok($seen{"imagekit_deleted_total{$of}"}, '==', 30, 'which is what was done');
is("$seen{qq(imagekit_held_files{$of})} $seen{qq(imagekit_dead_letters{$of})} $seen{qq(imagekit_queue_depth{$of})}", '8 1 1', 'and what waits');
like($text, qr/^# TYPE imagekit_requests_total counter$/m, 'counters are counters');
like($text, qr/^# TYPE imagekit_request_seconds histogram$/m, 'histograms are histograms');

is("$seen{qq(imagekit_library_files{$of})} $seen{qq(imagekit_library_dangling_urls{$of})}", $imagekit->count . ' 1', 'and what an audit has found');

# An audit that does not get done.
$imagekit->fault(kind => 'text_500', contains => 'ASC_CREATED', count => 0);
$t->sql(q{UPDATE imagekit.audit_runs SET started_at = started_at - interval '5 days', finished_at = finished_at - interval '5 days'; ALTER SERVER acme OPTIONS (ADD audit_every '3 days', ADD audit_time_limit '1 second')});
wait_for { $t->sql(q{SELECT count(*) FROM imagekit.audits WHERE state = 'incomplete'}) } 'one is tried';
is(join(' ', scrape() =~ /^imagekit_audit_overdue\{.*\} (\d)$/mg), '0', 'is no alarm at once');
$t->sql(q{UPDATE imagekit.audit_runs SET started_at = started_at - interval '5 days', finished_at = finished_at - interval '5 days'});
is(join(' ', scrape() =~ /^imagekit_audit_overdue\{.*\} (\d)$/mg), '1', 'but when it is overdue');
like($t->cause, qr/no audit has been complete since \S+ \S+, though audit_every is 3 days: audit_time_limit is reached.*; see imagekit\.audits/, 'and imagekit.status says why');
is($t->sql('SELECT state FROM imagekit.status') eq 'stopped' ? 'stopped' : 'goes on', 'goes on', 'while files are deleted as ever');
$imagekit->no_faults;

# An account that was refused.
$imagekit->fault(kind => 'unauthorized', count => 0);
$t->sql("INSERT INTO modules VALUES (3, '{$ENDPOINT/barred.jpg}'); DELETE FROM modules");
eventually { join(' ', scrape() =~ /^imagekit_(stopped|breaker_open)\{.*\} (\d)$/mg) } 'breaker_open 1 stopped 1', 'a stopped account is seen';

# What is asked for is there -----------------------------------------------------------------------------------------------

my %there = map { /^(\w+)\{/ ? ($1 => 1) : () } keys %seen;
$there{imagekit_library_audit_age_seconds} = 1; # $age
for my $file ('alerts.yml', 'grafana.json')
{
	my %asked = map { $_ => 1 } slurp_file("$monitoring/$file") =~ /\b(imagekit_[a-z0-9_]+)\b(?=[ ){\[,]|$)/mg;
	delete @asked{qw(imagekit_cleanup)};
	cmp_ok(scalar keys %asked, '>=', 10, "$file asks for metrics");
	is(join(' ', grep { !$there{$_} } sort keys %asked), '', 'and all of them are there');
}
my $dashboard = decode_json(slurp_file("$monitoring/grafana.json"));
cmp_ok(scalar @{ $dashboard->{panels} }, '>=', 12, 'the dashboard has a dozen panels');
is(join(' ', grep { $_ ne '${datasource}' } map { $_->{datasource}{uid}, map { $_->{datasource}{uid} } @{ $_->{targets} } } @{ $dashboard->{panels} }), '',
	'whose data source is the one that is chosen');
my $expressions = join("\n", map { my $p = $_; map { "      - expr: '" . ($_->{expr} =~ s/'/''/gr) . "'\n        record: x:" . lc($p->{type}) . "$p->{id}" } @{ $p->{targets} } } @{ $dashboard->{panels} });
$expressions =~ s/\$(?:database|account)/.*/g;
my $rules = PostgreSQL::Test::Utils::tempdir() . '/dashboard.yml';
append_to_file($rules, "groups:\n  - name: dashboard\n    rules:\n$expressions\n");
my $output;
ok(IPC::Run::run([ $promtool, 'check', 'rules', $rules ], '>&', \$output), 'its expressions are PromQL') or diag $output;

done_testing();
