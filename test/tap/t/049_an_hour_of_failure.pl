# An hour in which nothing works, for a server whose clocks run 120 times as fast: at most twelve messages in the log of each
# database, the queue waits, and all is deleted once it is mended. And the same hour in a database where there is nothing to do.

use strict;
use warnings;

use ImageKit::Shim;
use ImageKit::Test;
use Test::More;

my $speed = 120;
# ImageKit and the machine are not faster: a request may take as long as elsewhere.
my $t = ImageKit::Test->new(ready => 0, settings => { 'imagekit_cleanup.request_timeout' => ($speed * 5) . 's', 'imagekit_cleanup.connect_timeout' => ($speed * 5) . 's',
	'imagekit_cleanup.max_workers' => '8', 'imagekit_cleanup.search_lag' => '0', 'max_worker_processes' => '24',
	'log_line_prefix' => "'%m [%b] '", 'shared_preload_libraries' => "'imagekit_cleanup, pg_stat_statements'", 'pg_stat_statements.track' => 'all' });
ImageKit::Shim->new($t, speed => $speed) or plan skip_all => 'the server shim cannot be built';

# Each in a database and an account of its own. The text of a refusal that is another each time is one and the same failure.
my %failures = (
	searches_fail => [ kind => 'text_500', method => 'GET' ],
	deletes_fail => [ kind => 'html_502', method => 'DELETE' ],
	bad_key => [ kind => 'forbidden' ],
	may_not_delete => [ kind => 'forbidden', method => 'DELETE' ],
	nothing_comes => [ kind => 'reset_before' ],
	not_imagekit => [ kind => 'html_404' ],
	no_purges => [ kind => 'text_500', path => '/purge$' ],
	nowhere => []);
my %accounts;
for my $name (sort keys %failures)
{
	(my $prefix = $name) =~ tr/_/-/;
	$accounts{$name} = ImageKit::Emulator->start($prefix => "private_$name");
	my $api = $name eq 'nowhere' ? 'https://127.0.0.1:1' : $accounts{$name}->url;
	$t->sql("CREATE DATABASE $name");
	$t->sql(qq{
		CREATE EXTENSION imagekit_cleanup;
		CREATE SERVER $name FOREIGN DATA WRAPPER imagekit
		  OPTIONS (url_endpoint 'https://ik.imagekit.io/$prefix', api_url '$api', purge_cache 'true', hold_above 'off', hold_fraction 'off');
		CREATE USER MAPPING FOR PUBLIC SERVER $name OPTIONS (private_key 'private_$name');
		CREATE TABLE patches (id int, images text[]);
		SELECT imagekit.watch('patches', '{images}');
		INSERT INTO patches SELECT n, ARRAY['https://ik.imagekit.io/$prefix/$name-' || n || '.jpg'] FROM generate_series(1, 400) n;
		-- Found, and then kept: that an account answers again is not that it is mended.
		INSERT INTO patches SELECT 1000 + n, ARRAY['https://ik.imagekit.io/$prefix/$name-' || n || '.jpg'] FROM generate_series(1, 400, 10) n;
		SELECT imagekit.enable()}, $name);
	$accounts{$name}->seed(map { "/$name-$_.jpg" } 1 .. 400);
	my @fault = @{ $failures{$name} };
	$accounts{$name}->fault(@fault, count => 0) if @fault;
}
$t->sql('CREATE EXTENSION pg_stat_statements; CREATE DATABASE idle');
$t->prepare(db => 'idle');
sub workers { return $t->sql(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'imagekit_cleanup%' AND datname = 'idle'}); }
sub statements { return $t->sql(q{SELECT coalesce(sum(calls), 0) FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid WHERE d.datname = 'idle'}); }
wait_for { workers() eq '0' } 'the worker has seen that there is nothing to do, and left';
my $before = statements();
$t->mark_log;
my $began = $t->sql('SELECT extract(epoch FROM clock_timestamp())');
my $now = 0;
# A file a minute or so in each, so that there is always one to be tried.
for (my $id = 1; $now < 3600; $id++)
{
	$t->sql("DELETE FROM patches WHERE id BETWEEN 5 * $id - 4 AND 5 * $id", $_) for sort keys %failures;
	$now = $t->sql('SELECT extract(epoch FROM clock_timestamp())') - $began;
}
note sprintf '%d s have passed', $now;
# One look an hour, in case something was missed.
my $statements = statements() - $before;
note "$statements statements where there is nothing to do";
cmp_ok($statements, '<=', 120, 'an idle hour has few statements');
my @log = split /\n/, $t->log;
my @of_none = grep { /\[imagekit_cleanup [^\]]*\] (?:WARNING|ERROR|FATAL):/ && !/\b@{[ join '|', keys %failures ]}\b/ } @log;
is_deeply(\@of_none, [], 'every message says whose it is');
for my $name (sort keys %failures)
{
	# By the name of its account or of a file. What was done is no complaint.
	my @said = grep { /\[imagekit_cleanup [^\]]*\] (?:LOG|WARNING|ERROR|FATAL):  (?!Successfully deleted).*\b$name\b/ } @log;
	# A purge is tried again for longer than an hour before it is given up, and then said.
	cmp_ok(scalar @said, '>=', $name eq 'no_purges' ? 0 : 1, "$name: the log says so");
	my ($stops, $ends) = map { my $word = $_; scalar grep { /$word/ } @said } 'stops sending', 'sends for';
	cmp_ok($ends, '<=', $stops, "$name: and of no end without its beginning");
	cmp_ok(scalar @said, '<=', 12, "$name: in a dozen messages an hour at most") or diag join "\n", map { substr $_, 0, 200 } @said;
	note scalar(@said) . " of $name";
	note join "\n", map { substr $_, 0, 160 } @said;
}

# Mended.
for my $name (sort keys %failures)
{
	$accounts{$name}->no_faults;
	$t->sql("ALTER SERVER $name OPTIONS (SET api_url '" . $accounts{$name}->url . "')", $name) if $name eq 'nowhere';
	$t->sql("DELETE FROM patches; SELECT imagekit.retry(); SELECT imagekit.enable()", $name);
}
for my $name (sort keys %failures)
{
	eventually { $accounts{$name}->count . $t->sql('SELECT count(*) FROM imagekit.pending', $name) } '00', "$name: nothing is lost", 60;
	is($t->sql(q{SELECT string_agg(DISTINCT outcome || ' ' || detail, '; ') FROM imagekit.history WHERE outcome NOT IN ('deleted', 'kept')}, $name), '', "$name: and nothing is called what it is not");
}

done_testing();
