# The figures of imagekit.metrics against what ImageKit's emulator has seen and what the history says; what they cost at ten million
# files; and that counting neither waits nor writes for each file.

use strict;
use warnings;

use ImageKit::Test;
use JSON::PP;
use Test::More;
use Time::HiRes qw(time);

my $t = ImageKit::Test->new(settings => { autovacuum => 'off' });
my ($node, $imagekit) = ($t->node, $t->imagekit);
$t->sql(q{ALTER SERVER acme OPTIONS (ADD hold_fraction 'off')});

sub metric { my ($columns) = @_; return $t->sql("SELECT $columns FROM imagekit.metrics WHERE server = 'acme'"); }

# "request status count", as we have counted it, and as the emulator's journal has it.
sub counted { return $t->sql(q{SELECT string_agg(concat_ws(' ', request, status, requests), ', ' ORDER BY request, status COLLATE "C")
	FROM imagekit.request_metrics WHERE server = 'acme'}) }
sub seen
{
	my %seen;
	for my $entry ($imagekit->journal)
	{
		my $kind = $entry->{method} eq 'DELETE' ? 'delete' : $entry->{path} =~ /deleteByFileIds$/ ? 'bulk_delete'
		  : $entry->{path} =~ m{/purge$} ? 'purge' : $entry->{path} =~ m{/accounts/usage$} ? 'usage'
		  : ($entry->{query}{sort} // '') eq 'ASC_CREATED' ? 'list' : ($entry->{query}{limit} // '') eq '1' ? 'probe' : 'search';
		my $status = $entry->{status};
		$seen{"$kind " . ($status =~ /^2/ ? '2xx' : $status =~ /^5/ ? '5xx' : $status == 0 ? 'none' : $status)}++;
	}
	return join(', ', map { "$_ $seen{$_}" } sort keys %seen);
}

# Against the emulator -----------------------------------------------------------------------------------------------------

is(metric('attempts, requests, success_rate IS NULL, request_p50_ms IS NULL, counted_since IS NULL, queue_depth, oldest_due_at IS NULL'),
	'0|0|t|t|t|0|t', 'nothing was counted yet');
# The first request goes over a new connection: libcurl repeats one by itself when a connection that it used before is broken.
$imagekit->fault(kind => 'reset_before', method => 'GET');
$imagekit->fault(kind => 'rate_limited', method => 'GET', reset => 100);
$imagekit->fault(kind => 'text_500', method => 'DELETE');
$imagekit->seed(map { "/$_.jpg" } 'used', 1 .. 20);
$t->sql(qq{INSERT INTO modules VALUES (1, '{$ENDPOINT/used.jpg}');
	INSERT INTO patches VALUES (1, ARRAY(SELECT '$ENDPOINT/' || n || '.jpg' FROM generate_series(1, 20) n)), (2, '{$ENDPOINT/used.jpg,$ENDPOINT/missing.jpg}');
	DELETE FROM patches});
wait_for { $t->pending eq '0' } 'all is settled';
$imagekit->no_faults;
$t->insert(3, 'slow.jpg');
$imagekit->fault(kind => 'latency', method => 'DELETE', ms => 300);
$t->sql('DELETE FROM patches');
eventually { metric('deleted, not_found, kept, skipped') } '21|1|1|0', 'outcomes, a moment later', 30;
# An audit, which is told once that it asks too much, and once nothing.
$imagekit->fault(kind => 'rate_limited', contains => 'ASC_CREATED', reset => 100);
$imagekit->fault(kind => 'forbidden', path => '/accounts/usage$');
$t->sql('SET client_min_messages = error; CALL imagekit.audit()') for 1 .. 2;
wait_for { $t->worker eq '' } 'the worker has left, and has written what it had counted';
like(seen(), qr/, list 2xx \d+, list 429 1, .*, usage 2xx 1, usage 403 1$/, 'audits have asked for pages and for what the account uses');
is(counted(), seen(), 'requests by kind and status: as ImageKit has seen them');
is(metric('deleted, not_found, kept'), $t->sql(q{SELECT count(*) FILTER (WHERE outcome = 'deleted'), count(*) FILTER (WHERE outcome = 'not_found'), count(*) FILTER (WHERE outcome = 'kept') FROM imagekit.history}), 'outcomes: as the history has them');
my $rates = $imagekit->_get('rates');
is(metric('requests, refused_429'), "$rates->{all}{requests}|$rates->{all}{refused}", 'requests and refusals: as ImageKit has added them up');
cmp_ok(metric('refused_429'), '>=', 1, 'some were refused');
is(metric('attempts = deleted + not_found + kept + skipped + failed_attempts, failed_attempts > 0, abs(success_rate - 23.0 / attempts) < 0.001'), 't|t|t',
	'what the 500 and the reset took with it are failed attempts, and no success');

# Histograms
my $histogram = q{SELECT (max(count) FILTER (WHERE le = 'Infinity')) || '|' || bool_and(count >= before) || '|' || (count(*) > 10) || '|' || (min(sum) > 0)
	FROM (SELECT *, lag(count, 1, 0::bigint) OVER (ORDER BY le) AS before FROM imagekit.latency_metrics WHERE what = '%s') h};
is($t->sql(sprintf($histogram, 'request')), metric('requests') . '|true|true|true', 'each request is in the histogram, which is a cumulative one');
is($t->sql(sprintf($histogram, 'delete')), metric('deleted') . '|true|true|true', 'and so is each deleted file');
is($t->sql(q{SELECT count(*) FROM imagekit.latency_metrics WHERE what = 'request' AND le = 0.25 AND count <= (SELECT requests - 1 FROM imagekit.metrics)}), 1, 'the slow one among the slow ones');
is(metric('request_p50_ms <= request_p95_ms AND request_p95_ms <= request_p99_ms AND request_p99_ms > 250, latency_p50_s <= latency_p99_s'), 't|t', 'percentiles in their order');

# Percentiles are those of the histogram: 90 in (0.1, 0.25], 9 in (0.25, 0.5], 1 above all bounds.
$t->sql(q{CREATE SERVER other FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint 'https://ik.imagekit.io/other');
	INSERT INTO imagekit.counters SELECT oid, now(), '{time delete 100000,time delete 250000,time delete 500000,time delete inf,time delete sum,files deleted,files retried}', '{0,90,9,1,100000000,100,25}' FROM pg_foreign_server WHERE srvname = 'other'});
is($t->sql(q{SELECT round(latency_p50_s::numeric, 4), round(latency_p95_s::numeric, 4), latency_p99_s, attempts, success_rate FROM imagekit.metrics WHERE server = 'other'}),
	'0.1833|0.3889|0.5|125|0.8', 'evenly spread within a bucket; above the last bound, that bound');
$t->sql(q{INSERT INTO imagekit.counters SELECT oid, now() - interval '1 day', '{time delete 500000,files deleted}', '{100,100}' FROM pg_foreign_server WHERE srvname = 'other'});
is($t->sql(q{SELECT deleted, (SELECT count FROM imagekit.latency_metrics l WHERE l.server = m.server AND le = 0.5), counted_since < now() - interval '23 hours' FROM imagekit.metrics m WHERE server = 'other'}), '200|199|t', 'several rows of an account add up');

# What latency is ------------------------------------------------------------------------------------------------------------

# An hour's grace has run out 100 seconds ago: of a file that was never touched, and of one that was put off.
sub in_bucket { return $t->sql(q{SELECT count - lag(count) OVER (ORDER BY le) FROM imagekit.latency_metrics WHERE server = 'acme' AND what = 'delete' AND le IN (60, 300) ORDER BY le DESC LIMIT 1}) }
is(in_bucket(), 0, 'none took minutes');
$t->sql(q{CREATE TABLE graced (image text); SELECT imagekit.watch('graced', '{image}', grace => '1 hour')});
$imagekit->seed(map { { filePath => $_, createdAt => '2025-01-01T00:00:00Z', updatedAt => '2025-01-01T00:00:00Z' } } '/graced1.jpg', '/graced2.jpg');
$t->sql("INSERT INTO graced VALUES ('$ENDPOINT/graced1.jpg'), ('$ENDPOINT/graced2.jpg'); DELETE FROM graced");
wait_for { $t->sql('SELECT count(*) FROM imagekit.backlog') eq '2' } 'they wait in the backlog';
$t->sql(q{UPDATE imagekit.backlog SET captured_at = now() - interval '1 hour 100 s', due_at = now() - interval '100 s' WHERE url ~ 'graced1';
	UPDATE imagekit.backlog SET captured_at = now() - interval '1 hour 100 s', due_at = now(), last_error = 'put off', attempts = 1, state = 'retrying' WHERE url ~ 'graced2';
	SELECT imagekit.enable()});
eventually { in_bucket() } '2', 'latency begins with the end of the grace, and waits and retries are part of it', 40;

# By hand ------------------------------------------------------------------------------------------------------------------

# A transaction that is open for long: nobody waits for it, and what it did counts when it is over.
$imagekit->seed(map { "/hand$_.jpg" } 1 .. 3);
$t->insert(4, 'meanwhile.jpg');
my $before = metric('deleted');
my $session = $node->background_psql('postgres');
is($session->query_safe("BEGIN; SELECT imagekit.delete_file('$ENDPOINT/hand1.jpg')"), 't', 'a file is deleted by hand');
$t->sql('DELETE FROM patches');
eventually { metric("deleted - $before") } '1', 'the worker goes on counting', 40;
$session->query_safe('COMMIT');
is(metric("deleted - $before"), 2, 'and the transaction adds what is its own');
$session->query_safe("SET client_min_messages = error; BEGIN; SELECT imagekit.delete_file('$ENDPOINT/hand2.jpg'); ROLLBACK");
is(metric("deleted - $before"), 2, 'what is rolled back does not count');
# A snapshot of before the worker writes.
$session->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM imagekit.counters');
$t->insert(5, 'more.jpg');
$t->sql('DELETE FROM patches');
eventually { metric("deleted - $before") } '3', 'the worker writes', 40;
is($session->query_safe("SELECT imagekit.delete_file('$ENDPOINT/hand3.jpg'); COMMIT"), 't', 'a transaction of another isolation level');
is(metric("deleted - $before"), 4, 'counts as well');
$session->quit;

# The clock of a deletion begins with the commit, however long ago the statement was.
sub sum_of_latencies { return $t->sql(q{SELECT coalesce(max(sum), 0) FROM imagekit.latency_metrics WHERE server = 'acme' AND what = 'delete'}); }
$imagekit->seed('/late.jpg');
$t->sql("INSERT INTO modules VALUES (2, '{$ENDPOINT/late.jpg}')");
$session = $node->background_psql('postgres');
$session->query_safe('BEGIN');
my $began = time();
$session->query_safe('DELETE FROM modules WHERE id = 2');
stays { $t->files(prefix => '/late') } '/late.jpg', 'while a transaction is open, the file stays', 3;
my ($latencies, $deleted, $committing) = (sum_of_latencies(), metric('deleted'), time());
$session->query_safe('COMMIT');
my $committed = time();
wait_for { $t->sql(q{SELECT count(*) FROM imagekit.history WHERE url ~ '/late.jpg$'}) } 'it is deleted';
my $recorded = time();
$session->quit;
eventually { metric("deleted - $deleted") } '1', 'and counted', 40;
my ($late) = reverse $imagekit->deletes;
my $answered = $late->{wall_us} / 1e6 + $late->{duration_ms} / 1000;
my $latency = sum_of_latencies() - $latencies;
note sprintf '%.3f s, of at least %.3f and at most %.3f; %.3f since the statement', $latency, $answered - $committed, $recorded - $committing, $answered - $began;
cmp_ok($latency, '<=', $recorded - $committing, 'a deletion takes from the commit to its record');
cmp_ok($latency, '>=', $answered - $committed, 'which is not before ImageKit has answered');
cmp_ok($latency, '<', $answered - $began - 2.5, 'and the time between statement and commit is no part of it');

# Written seldom -------------------------------------------------------------------------------------------------------------

my $rows = 300;
$imagekit->seed(map { "/many$_.jpg" } 1 .. $rows);
$t->sql("INSERT INTO patches SELECT 1000 + n, ARRAY['$ENDPOINT/many' || n || '.jpg'] FROM generate_series(1, $rows) n");
$t->sql('SELECT pg_stat_reset()');
# A settlement or more for each.
$node->safe_psql('postgres', join('', map { "DELETE FROM patches WHERE id = " . (1000 + $_) . ";\n" } 1 .. $rows));
eventually { metric("deleted - $before - 5") } $rows, 'all are counted', 60;
cmp_ok($t->sql(q{SELECT n_tup_ins FROM pg_stat_user_tables WHERE relname = 'counters'}), '<', 20, 'by few rows');
is($t->sql(q{SELECT count(*) FROM imagekit.counters k JOIN pg_foreign_server s ON s.oid = k.server WHERE srvname = 'acme'}), 1, 'of which one is left');

# Nothing goes back, whatever becomes of the worker; but what was an account's goes with it.
my $sum = metric('deleted + requests');
$imagekit->seed('/last.jpg');
$t->sql("INSERT INTO patches VALUES (6, '{$ENDPOINT/last.jpg}'); DELETE FROM patches");
wait_for { $t->files(prefix => '/last') eq '' } 'it is deleted';
$t->sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'imagekit_cleanup worker'});
cmp_ok(metric('deleted + requests'), '>=', $sum, 'a worker that is terminated takes nothing back');
$t->sql(q{DROP SERVER other});
is($t->sql(q{SELECT count(*) FROM imagekit.metrics}), 1, 'an account that was dropped is not shown');
$t->insert(7, 'sweep.jpg');
$t->sql('DELETE FROM patches');
eventually { $t->sql(q{SELECT count(*) FROM imagekit.counters WHERE server NOT IN (SELECT oid FROM pg_foreign_server)}) } '0', 'and its counts are swept away', 40;

# What stands still ------------------------------------------------------------------------------------------------------------

is(metric('state, breaker, breaker_until IS NULL, enabled, armed, preloaded, launcher_running') =~ s/working|idle/ok/r, 'ok|closed|t|t|t|t|t', 'all is well');
$imagekit->fault(kind => 'unauthorized', count => 0);
$t->insert(8, 'barred.jpg');
$t->sql('DELETE FROM patches');
eventually { metric(q{breaker, state, stopped_because ~ 'HTTP 401', queue_depth, oldest_due_at <= now(), breaker_until IS NOT NULL}) } 'open|stopped|t|1|t|t', 'an account that ImageKit refuses';
eventually { $t->sql(q{SELECT requests > 0 FROM imagekit.request_metrics WHERE status = '401' AND request IN ('search', 'probe') LIMIT 1}) } 't', 'the refusals are counted', 40;
$imagekit->no_faults;
eventually { metric('breaker, queue_depth') } 'closed|0', 'goes on';
$t->sql('SELECT imagekit.disable()');
is(metric('state, armed, stopped_because'), 'stopped|f|' . $t->cause, 'a database that is not armed');

$t->sql('SELECT imagekit.enable()');

# At ten million ---------------------------------------------------------------------------------------------------------------

$t->setting('imagekit_cleanup.enabled', 'off');
$t->sql(q{CREATE SERVER shop FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint 'https://ik.imagekit.io/shop')});
$t->sql(qq{INSERT INTO patches VALUES (1, ARRAY(SELECT '$ENDPOINT/journal/' || md5(n::text) || '.jpg' FROM generate_series(1, 45) n
	UNION ALL SELECT 'https://ik.imagekit.io/shop/journal/' || md5(n::text) || '.jpg' FROM generate_series(1, 15) n)); DELETE FROM patches});
is($t->sql(q{SELECT sum(queue_depth), string_agg(server || ' ' || queue_depth, ' ' ORDER BY server), bool_or(queue_is_estimate), sum(failed) FROM imagekit.metrics}), '60|acme 45 shop 15|f|0', 'a short queue is counted, each account for itself');
# Every tuple stands for a thousand.
$t->sql(q{INSERT INTO imagekit.outbox SELECT captured_at, written_at, grace, transaction, relation, role, 1000, total, origin, pack FROM imagekit.outbox, generate_series(1, 10000)});
$t->sql(q{INSERT INTO imagekit.backlog (url, server, transaction, relation, role, origin, captured_at, due_at, state)
	SELECT s.srvoptions[1] || md5(n::text), s.oid, pg_current_xact_id(), 0, 10, 'D', now(), now() - n * interval '1 ms',
	       CASE WHEN n % 10 < 6 THEN 'waiting' WHEN n % 10 = 6 THEN 'retrying' WHEN n % 10 < 9 THEN 'held' ELSE 'failed' END
	FROM generate_series(1, 1000000) n JOIN pg_foreign_server s ON s.srvname = CASE WHEN (n / 10) % 4 = 0 THEN 'shop' ELSE 'acme' END});
# At most so many pages and index entries are looked at; reading the tables as a whole would be ten times as many.
my ($plan) = @{ decode_json($t->sql('EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT * FROM imagekit.metrics')) };
my ($pages) = $t->sql(q{SELECT pg_relation_size('imagekit.backlog') / 8192 + pg_relation_size('imagekit.outbox') / 8192});
my $buffers = $plan->{Plan}{'Shared Hit Blocks'} + $plan->{Plan}{'Shared Read Blocks'};
note "$plan->{'Execution Time'} ms, $buffers pages of $pages";
cmp_ok($buffers, '<', 30000, 'the view looks at few pages');
cmp_ok($plan->{'Execution Time'}, '<', 2000, 'and is quick');
$t->sql('SELECT pg_stat_reset()');
$t->sql('SELECT count(*) FROM imagekit.metrics');
eventually { $t->sql(q{SELECT string_agg(indexrelname || ' ' || (idx_tup_read BETWEEN 1 AND 10001), ', ' ORDER BY indexrelname)
	FROM pg_stat_user_indexes WHERE indexrelname IN ('backlog_due', 'backlog_failed', 'backlog_held')}) } 'backlog_due true, backlog_failed true, backlog_held true',
	'nor does it read long indexes to their end';
my %true = (acme => [ 7500000 + 525000 + 45, 150000, 75000 ], shop => [ 2500000 + 175000 + 15, 50000, 25000 ]);
for my $server (sort keys %true)
{
	my @seen = split(/\|/, $t->sql(qq{SELECT queue_depth, held, failed, queue_is_estimate, oldest_due_at FROM imagekit.metrics WHERE server = '$server'}));
	note "$server: @seen; in truth @{ $true{$server} }";
	for my $i (0 .. 2)
	{
		cmp_ok(abs($seen[$i] - $true{$server}[$i]) / $true{$server}[$i], '<', 0.05, "$server: " . (qw(queue held failed))[$i] . ' within a few per cent');
	}
	is($seen[3], 't', 'and said to be an estimate');
	is($seen[4], $t->sql(qq{SELECT min(due_at) FROM imagekit.backlog b JOIN pg_foreign_server s ON s.oid = b.server WHERE srvname = '$server' AND state IN ('waiting', 'retrying')}), 'the oldest is exact');
}
# A few that need a person among a million are counted.
$t->sql(q{DELETE FROM imagekit.backlog WHERE state IN ('held', 'failed') AND id > 100});
is($t->sql(q{SELECT string_agg(held || ' ' || failed, ', ' ORDER BY server) FROM imagekit.metrics}),
	$t->sql(q{SELECT string_agg(held || ' ' || failed, ', ' ORDER BY srvname) FROM (SELECT srvname, count(*) FILTER (WHERE state = 'held') AS held, count(*) FILTER (WHERE state = 'failed') AS failed
		FROM imagekit.backlog b JOIN pg_foreign_server s ON s.oid = b.server GROUP BY srvname) x}), 'few that are held or failed are counted, not estimated');

done_testing();
