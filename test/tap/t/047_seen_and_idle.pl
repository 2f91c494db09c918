# What an administrator sees of it: processes by their names, never a transaction while ImageKit is waited for, and with nothing to
# do no worker, no transaction, nothing.

use strict;
use warnings;

use ImageKit::Test;
use Test::More;
use Time::HiRes qw(time);

# Whoever counts the server's transactions has to be alone with it.
my $t = ImageKit::Test->new(ready => 0, settings => { autovacuum => 'off', 'imagekit_cleanup.request_timeout' => '60s' });
my ($node, $imagekit) = ($t->node, $t->imagekit);
my $named = $t->sql('SHOW server_version_num') >= 170000;    # before, extensions cannot name their wait events
for my $db ('unarmed', 'plain') { $t->sql("CREATE DATABASE $db"); }
$t->prepare;
$t->prepare(db => 'unarmed', enable => 0);

# At work -----------------------------------------------------------------------------------------------------------------------

my $session = $node->background_psql('postgres');
my $launcher = $session->query_safe(q{SELECT application_name, datname, state, wait_event_type || ' ' || wait_event, query = '' FROM pg_stat_activity WHERE backend_type = 'imagekit_cleanup launcher'});
is($launcher, 'imagekit_cleanup launcher||idle|Extension ' . ($named ? 'ImageKitLauncher' : 'Extension') . '|t', 'the launcher, in no database');

# Found, not found, at another path, in use, for the operator, and purged from the CDN; each request is held until it has been looked at.
$t->sql(q{ALTER SERVER acme OPTIONS (ADD purge_cache 'true')});
my $left = 'SELECT (SELECT count(*) FROM imagekit.pending) + (SELECT count(*) FROM imagekit.purges)';
$imagekit->seed(map { "/$_.jpg" } qw(a b c d used elsewhere/moved));
$imagekit->fault(kind => 'stall', count => 0);
$t->sql(qq{INSERT INTO modules VALUES (1, '{$ENDPOINT/used.jpg}');
	INSERT INTO patches VALUES (1, ARRAY(SELECT '$ENDPOINT/' || n || '.jpg' FROM unnest('{a,b,c,d,used,missing,moved}'::text[]) n), NULL); DELETE FROM patches});
my (%seen, %stages, $purging);
my $deadline = time() + 20;
while (time() < $deadline && $session->query_safe($left) ne '0')
{
	# Answered one after the other, so that every stage is a wait.
	wait_for { $imagekit->stalled || $session->query_safe($left) eq '0' } 'it waits for ImageKit';
	next unless $imagekit->stalled;
	# It may still be busy with other files, in short transactions; then it waits, and goes on waiting.
	wait_for { $session->query_safe(q{SELECT count(*) FROM pg_stat_activity
		WHERE backend_type = 'imagekit_cleanup worker' AND datname = 'postgres' AND state = 'active' AND wait_event_type = 'Extension'}) eq '1' || !$imagekit->stalled } 'it waits';
	for (1 .. 5)
	{
		last unless $imagekit->stalled && $session->query_safe($left) ne '0';
		my $sample = $session->query_safe(q{
			SELECT concat_ws(' ', application_name, state, wait_event_type, wait_event, coalesce(xact_start::text, '-'), coalesce(backend_xid::text, '-'), coalesce(backend_xmin::text, '-'),
				(SELECT count(*) FROM pg_locks l WHERE l.pid = a.pid AND l.locktype <> 'advisory'))
			FROM pg_stat_activity a WHERE backend_type = 'imagekit_cleanup worker' AND datname = 'postgres'});
		$seen{$sample}++;
		$purging++ if $session->query_safe('SELECT count(*) FROM imagekit.pending') eq '0';
	}
	$imagekit->release;
}
$imagekit->no_faults;
$imagekit->release;
$stages{"$_->{method} $_->{path}" =~ s{/[0-9a-f]{24}}{/ID}r}++ for $imagekit->journal;
is($t->sql($left), 0, 'all is done, one answer after the other');
is(join("\n", sort keys %seen), 'imagekit_cleanup worker active Extension ' . ($named ? 'ImageKitHttp' : 'Extension') . ' - - - 0',
	'whenever it waits for ImageKit: by its name, with no transaction, no snapshot, no lock on anything');
note join(', ', map { "$_: $stages{$_}" } sort keys %stages);
like(join(' ', sort keys %stages), qr{^(?=.*GET)(?=.*(?:DELETE|/batch/deleteByFileIds))(?=.*POST /v1/files/purge)}, 'seen at look-ups, deletes and purges');
cmp_ok($purging, '>=', 5, 'and when there was nothing but a purge to wait for');
is($t->history, 'deleted a.jpg, deleted b.jpg, deleted c.jpg, deleted d.jpg, not_found missing.jpg, not_found moved.jpg, kept used.jpg', 'of every kind');

# Idle --------------------------------------------------------------------------------------------------------------------------

# What waits for a person is no work.
$t->sql("SELECT imagekit.enqueue(ARRAY['$ENDPOINT/no%zzurl.jpg'])");
wait_for { $t->sql(q{SELECT state FROM imagekit.pending}) eq 'failed' } 'one is parked';
$session->quit;
my $workers = q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'imagekit_cleanup worker'};
my $start = time();
wait_for { $node->safe_psql('template1', $workers) eq '0' } 'the worker has left';
cmp_ok(time() - $start, '<', 4, 'an idle worker leaves');

# All but the asking session's own. poll_interval is a second here, and thirty by default.
my $transactions = q{SELECT sum(xact_commit + xact_rollback) FROM pg_stat_database WHERE datname IS DISTINCT FROM 'template1'};
my $before = $node->safe_psql('template1', $transactions);
stays { $node->safe_psql('template1', $workers) } '0', 'with nothing to do there is no worker', 6;
is($node->safe_psql('template1', $transactions) - $before, 0, 'nor any transaction, in databases with the extension, armed or not, and without');

# And yet awake: nobody polls, but whoever commits wakes.
$imagekit->seed('/again.jpg');
$start = time();
$t->sql("INSERT INTO patches VALUES (9, '{$ENDPOINT/again.jpg}'); DELETE FROM patches");
eventually { $t->files(prefix => '/again') } '', 'a commit wakes';
cmp_ok(time() - $start, '<', 1, 'at once');

done_testing();
