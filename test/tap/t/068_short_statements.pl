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
done_testing();
