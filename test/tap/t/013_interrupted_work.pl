# Work that is interrupted is on record: attempts are counted before they are made, and what ImageKit has done without our
# knowing is found out.

use strict;
use warnings;

use ImageKit::Test;
use Test::More;

my $t = ImageKit::Test->new(settings => { restart_after_crash => 'on' });
my $imagekit = $t->imagekit;

# Attempts survive a crash: a file that killed its worker each time would otherwise do so for ever, at full speed.
$t->insert(1, 'counted.jpg', 'other.jpg');
$imagekit->fault(kind => 'stall', method => 'DELETE');
$t->sql('DELETE FROM patches WHERE id = 1');
wait_for { $imagekit->stalled == 1 } 'the delete of both hangs';
is($t->sql('SELECT DISTINCT attempts FROM imagekit.pending'), '1', 'the attempt is on record before the request is sent');

# Held from now on: the next attempt, at its look-up.
$imagekit->fault(kind => 'stall', method => 'GET', count => 0);
$t->mark_log;
kill 'KILL', $t->worker;
wait_for { $t->log =~ /database system is ready/ } 'the server restarts itself';
wait_for { ($t->node->psql('postgres', 'SELECT 1'))[0] == 0 } 'it accepts connections';
eventually { $t->sql('SELECT DISTINCT attempts, state FROM imagekit.pending') } '2|retrying', 'the attempt that was killed is counted';
is( $t->sql('SELECT DISTINCT last_error FROM imagekit.pending'),
	'the process that was working on it ended before it had an answer', 'and says what happened to it');
$imagekit->no_faults;
$imagekit->release;
eventually { $t->files . $t->pending } '0', 'the second attempt deletes the files';
is($t->history, 'deleted counted.jpg, deleted other.jpg', 'each is settled once');

# However often a file was tried before, for whatever reason: a killed worker makes it wait no longer than retry_delay_max.
$t->insert(6, 'often.jpg');
$imagekit->fault(kind => 'stall', method => 'DELETE');
$t->sql('DELETE FROM patches WHERE id = 6');
wait_for { $imagekit->stalled == 1 } 'the delete hangs';
$t->sql('UPDATE imagekit.claims SET attempts = ARRAY[14]');
$t->mark_log;
kill 'KILL', $t->worker;
wait_for { $t->log =~ /database system is ready/ } 'the server restarts itself';
wait_for { ($t->node->psql('postgres', 'SELECT 1'))[0] == 0 } 'it accepts connections';
$imagekit->no_faults;
$imagekit->release;
eventually { $t->files . $t->pending } '0', 'the attempt that follows many is made before long';

# The connection breaks after ImageKit has done it.
$t->insert(2, 'reset.jpg');
$imagekit->fault(kind => 'reset_after', method => 'DELETE');
$t->sql('DELETE FROM patches WHERE id = 2');
eventually { $t->sql(q{SELECT outcome FROM imagekit.history WHERE url LIKE '%reset.jpg'}) } 'not_found',
  'a connection that breaks after the delete: tried again, found to be gone';

# The whole server ends with work in the journal and in the drain's hands.
$t->insert(3, 'a.jpg', 'b.jpg');
$t->insert(4, 'c.jpg');
$t->sql(q{ALTER SERVER acme OPTIONS (ADD bulk_size '1', SET write_rate '0.1')});  # no more than two files are in hand
$imagekit->fault(kind => 'stall', method => 'GET', count => 0);
$t->sql('DELETE FROM patches WHERE id = 3');
wait_for { $imagekit->stalled } 'the look-up hangs';
$t->sql('DELETE FROM patches WHERE id = 4');
is($t->sql('SELECT (SELECT sum(cardinality(urls)) FROM imagekit.claims), (SELECT count(*) FROM imagekit.outbox)'),
	'2|1', 'two are being worked on, one is in the journal');
$t->node->stop('immediate');
$imagekit->no_faults;
$imagekit->release;
$t->node->start;
$t->sql(q{ALTER SERVER acme OPTIONS (DROP bulk_size, SET write_rate '1000')});
eventually { $t->files . $t->pending } '0', 'an immediate shutdown loses neither';

# An uncommitted delete dies with the server.
$t->insert(5, 'uncommitted.jpg');
my $session = $t->node->background_psql('postgres', on_error_stop => 0);
$session->query_safe('BEGIN; DELETE FROM patches WHERE id = 5');
$t->node->stop('immediate');
$t->node->start;
stays { $t->files . $t->pending } '/uncommitted.jpg0', 'what was not committed is not deleted';

done_testing();
