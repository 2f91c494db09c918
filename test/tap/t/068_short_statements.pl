# The drain's statements are many and short: none starts parallel workers or compiles, however PostgreSQL weighs them, and none reads a
# large journal for what a look at its size decides.

use strict;
use warnings;

use ImageKit::Test;
use Test::More;

my $t = ImageKit::Test->new(settings => {
	shared_preload_libraries => "'imagekit_cleanup, auto_explain'", 'auto_explain.log_min_duration' => 0, 'auto_explain.log_analyze' => 'on', 'auto_explain.log_timing' => 'off',
	min_parallel_table_scan_size => 0, min_parallel_index_scan_size => 0, parallel_setup_cost => 0, parallel_tuple_cost => 0, jit_above_cost => 0,
	autovacuum => 'off' });

my $imagekit = $t->imagekit;

# The process of the last worker, and its plans that match PATTERN, oldest first.
my $worker;
sub plans
{
	my ($pattern) = @_;
	my @messages = split /\n(?=\d{4}-\d\d-\d\d [\d:.]+ UTC \[)/, $t->log;
	return grep { /$pattern/ } map { /^[^\n]*\[$worker\] LOG:  duration: [^\n]* plan:\n(.*)/s ? $1 : () } @messages;
}

my $MANY = 25_000;
$t->sql(qq{INSERT INTO patches SELECT i, ARRAY(SELECT format('$ENDPOINT/%s/%s.jpg', md5(i::text), md5(i || '.' || n)) FROM generate_series(1, 4) n) FROM generate_series(1, $MANY) i});
$t->sql(q{SELECT imagekit.pause('acme')});
wait_for { $t->worker eq '' } 'no worker is left';
$t->mark_log;
$t->sql('DELETE FROM patches');
$worker = wait_for { $t->worker } 'the worker looks';
wait_for { $t->worker eq '' } 'and has left';
cmp_ok($t->sql(q{SELECT pg_relation_size('imagekit.outbox')}), '>', 4 << 20, 'the journal is large');
my @all = plans(qr/./);
cmp_ok(scalar @all, '>', 10, 'plans are logged');
is(scalar(grep { /Workers Planned/ } @all), 0, 'none with parallel workers');
is(scalar(grep { /\bJIT:/ } @all), 0, 'none compiled');
my @looks = plans(qr/bool_or\(o\.origin/);
cmp_ok(scalar @looks, '>', 0, 'it was asked what others may have in their hands');
is(scalar(grep { !/Seq Scan on outbox o +\([^\n]*never executed/ } @looks), 0, 'without reading a large journal') or diag $looks[0];

# From the beginning once ----------------------------------------------------------------------------------------------------

# A look that has come to the end lets the next one, a second later, begin at the beginning: one, and not all that follow.
$t->sql(q{ALTER SERVER acme OPTIONS (ADD allow_missing 'true', ADD hold_above 'off', ADD hold_fraction 'off', SET read_rate '1000')});
$imagekit->switch(latency_ms => 400);    # what was claimed last is in hand for a while
$t->setting('imagekit_cleanup.worker_idle_timeout', '20s');
$t->sql(q{TRUNCATE imagekit.outbox; SELECT imagekit.resume('acme')});
$t->sql(qq{INSERT INTO patches SELECT i, ARRAY(SELECT format('$ENDPOINT/%s/%s.jpg', md5(i::text), md5(i || '.' || n)) FROM generate_series(1, 4) n) FROM generate_series(1, 2400) i});
$t->sql('DELETE FROM patches WHERE id <= 400');
wait_for { $t->sql('SELECT count(*) FROM imagekit.outbox') == 0 } 'the end is reached, with files in hand';
$t->mark_log;
$t->sql('DELETE FROM patches');
$worker = $t->worker;
eventually { $t->sql('SELECT count(*) FROM imagekit.history') } '9600', 'a long journal is drained', 60;
@looks = plans(qr/FROM imagekit.outbox o WHERE o.origin OPERATOR\(pg_catalog.<>\) 'M' AND o.ctid/);
my @from_beginning = grep { /ctid > '\(0,0\)'/ } @looks;
cmp_ok(scalar @looks, '>', 20, 'with many looks');
cmp_ok(scalar @from_beginning, '<', @looks / 3, 'few of them from the beginning');
note scalar(@from_beginning) . ' of ' . scalar(@looks);
done_testing();
