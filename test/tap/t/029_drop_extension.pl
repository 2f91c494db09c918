# DROP EXTENSION while a drain is at work: it waits for the drain's short transaction, and neither meets a deadlock. A drain
# goes from table to table of the extension, so DROP EXTENSION has to wait before it has locked any of them.
#
# Without a worker, so that the drain is where the test wants it: at a table that somebody has locked.

use strict;
use warnings;

use ImageKit::Test;
use Test::More;

my $t = ImageKit::Test->new(ready => 0, settings => { shared_preload_libraries => undef, deadlock_timeout => '100ms' });

for my $table (qw(arming backlog outbox account_state watch_config history))
{
	$t->prepare;
	$t->sql(qq{SELECT imagekit.enqueue(ARRAY['$ENDPOINT/1.jpg'])});
	my %session = map { $_ => $t->node->background_psql('postgres', on_error_stop => 0) } qw(locker drain drop);
	my %pid = map { $_ => $session{$_}->query_safe('SELECT pg_backend_pid()') } keys %session;
	$session{locker}->query_safe("BEGIN; LOCK TABLE imagekit.$table");
	start_in($session{drain}, 'CALL imagekit.drain()');
	blocked($pid{drain}, $pid{locker});
	start_in($session{drop}, 'SET client_min_messages = error; DROP EXTENSION imagekit_cleanup CASCADE');
	blocked($pid{drop}, "$pid{drain}|$pid{locker}");
	$t->mark_log;
	$session{locker}->query_safe('COMMIT');
	eventually { $t->sql(q{SELECT count(*) FROM pg_extension WHERE extname = 'imagekit_cleanup'}) } 0,
	  "the extension is dropped while a drain was waiting for imagekit.$table";
	eventually { $t->sql("SELECT state FROM pg_stat_activity WHERE pid = $pid{drain}") } 'idle', 'the drain has ended';
	is((grep { /ERROR|FATAL|PANIC/ && !/extension "imagekit_cleanup" is not installed|relation "imagekit.* does not exist/ } $t->log_lines(qr/./)),
		0, 'no deadlock') or diag $t->log;
	$_->{run}->kill_kill for values %session;
	$t->sql('DROP TABLE patches, modules; DROP SCHEMA imagekit');
}

done_testing();

# Sends a statement and does not wait for its end.
sub start_in
{
	my ($session, $sql) = @_;
	$session->query_until(qr/started/, "\\echo started\n$sql;\n");
	return;
}

# Waits until BACKEND waits for a lock, and for one of BY (process ids, with |).
sub blocked
{
	my ($backend, $by) = @_;
	wait_for { $t->sql("SELECT string_agg(pid::text, ' ') FROM unnest(pg_blocking_pids($backend)) AS pid") =~ /\b(?:$by)\b/ }
	"process $backend waits for $by";
	return;
}
