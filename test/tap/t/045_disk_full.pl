# The disk that the queue is on is full: the statement that cannot queue fails, as the promise is one of transactions; the worker
# that cannot settle rests between its tries and does not fill the log; and with room again all goes on.

use strict;
use warnings;

use ImageKit::Shim;
use ImageKit::Test;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $t = ImageKit::Test->new(ready => 0);
my $imagekit = $t->imagekit;
my $disk = PostgreSQL::Test::Utils::tempdir();
my $shim = ImageKit::Shim->new($t, disk => $disk) or plan skip_all => 'the server shim cannot be built';
$t->sql("CREATE TABLESPACE small LOCATION '$disk'");
$t->prepare;

# The user's statement ----------------------------------------------------------------------------------------------------------

$t->sql('ALTER TABLE imagekit.outbox SET TABLESPACE small');
$t->insert(1, 'one.jpg');
$shim->full(1);
like($t->messages('DELETE FROM patches'), qr/ERROR:  could not (?:extend|write)\D.*: No space left on device/, 'a DELETE whose images cannot be queued fails, with PostgreSQL\'s own error');
is($t->sql('SELECT count(*) FROM patches') . $t->files, '1/one.jpg', 'row and image are both there');
is($t->cause, '', 'nothing else is the matter');
$shim->full(0);
$t->sql('DELETE FROM patches');
eventually { $t->files . $t->pending } '0', 'with room again it succeeds, and the image goes';

# The worker --------------------------------------------------------------------------------------------------------------------

# What it deletes it cannot write down; it cannot say what it has in hand; what fails it cannot put aside.
$t->sql('ALTER TABLE imagekit.outbox SET TABLESPACE pg_default');
my $row = 1000;
for my $case ([ 'claims' ], [ 'backlog', { kind => 'text_500', method => 'DELETE', count => 0 } ])
{
	my ($table, $fault) = @$case;
	wait_for { $t->worker eq '' } 'the worker has left';
	$t->sql("VACUUM FULL imagekit.$table; ALTER TABLE imagekit.$table SET TABLESPACE small");
	is($t->sql("SELECT pg_relation_size('imagekit.$table')"), 0, "$table: it is empty");
	$imagekit->fault(%$fault) if $fault;
	$t->insert(++$row, "$table.jpg");
	$shim->full(1);
	$t->mark_log;
	$t->sql("DELETE FROM patches WHERE id = $row");
	my $start = time();
	eventually { scalar $t->log_lines(qr{^ERROR:  could not (?:extend|write)\D.*: No space left on device}) } 2, "$table: the worker fails, and tries again";
	cmp_ok(time() - $start, '>', 1, "$table: but not at once");
	$t->insert(++$row, "$table-too.jpg");
	$t->sql("DELETE FROM patches WHERE id = $row");
	is($t->sql('SELECT count(*) FROM patches') . '|' . $t->pending, '0|2', "$table: the user's statements go on, and nothing is lost");
	is($t->files, "/$table-too.jpg /$table.jpg", "$table: nor deleted");
	$shim->full(0);
	$imagekit->no_faults;
	$t->node->reload;
	eventually { $t->files . $t->pending } '0', "$table: with room again all goes";
	is($t->sql("SELECT string_agg(outcome, ' ') FROM imagekit.history WHERE url ~ '$table'"), 'deleted deleted', "$table: each is settled once");
	wait_for { $t->worker eq '' } 'the worker has left';
	$t->sql("ALTER TABLE imagekit.$table SET TABLESPACE pg_default");
}
wait_for { $t->worker eq '' } 'the worker has left';
$t->sql('TRUNCATE imagekit.history; ALTER TABLE imagekit.history SET TABLESPACE small');
$t->insert(2, 'two.jpg');
$shim->full(1);
$t->mark_log;
$t->sql('DELETE FROM patches');
my $start = time();
wait_for { $t->log =~ /No space left on device/ } 'the worker fails';
# Each of these commits wakes.
my $commits = 0;
while (time() < $start + 6)
{
	$t->insert(100 + ++$commits, "busy$commits.jpg");
	$t->sql("DELETE FROM patches WHERE id = 100 + $commits");
}
my @errors = $t->log_lines(qr/No space left on device/);
cmp_ok(scalar(@errors), '>=', 2, 'it tries again');
cmp_ok(scalar(@errors), '<=', 4, sprintf('but not at each of %d commits: %d tries in 6 s', $commits, scalar @errors));
is((grep { !/No space left on device|deleted/ } $t->log_lines(qr/./)), 0, 'each is one message') or diag $t->log;
is($t->sql('SELECT count(*) FROM patches'), 0, 'the user\'s statements go on');
is($t->pending, 1 + $commits, 'and nothing is lost');
$shim->full(0);
$t->node->reload;
eventually { $t->files . $t->pending } '0', 'with room again, it goes on: a reload ends its rest';
is($t->sql(q{SELECT count(*), count(DISTINCT url) FROM imagekit.history WHERE outcome IN ('deleted', 'not_found')}), (1 + $commits) . '|' . (1 + $commits), 'each file is settled once');
$t->mark_log;
$t->insert(3, 'three.jpg');
$t->sql('DELETE FROM patches');
eventually { $t->files } '', 'and it works as ever';

done_testing();
