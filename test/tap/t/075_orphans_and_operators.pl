# What a dead worker left claimed, and an operator's function takes back in a transaction that stays open: nobody waits for it, and
# nothing is lost, whatever becomes of it.

use strict;
use warnings;

use ImageKit::Test;
use Test::More;

my $t = ImageKit::Test->new(settings => { 'deadlock_timeout' => '200ms' });
my $imagekit = $t->imagekit;

# In the operator's hands, before another worker comes.
sub orphaned_by_operator
{
	my ($session, $id, $name) = @_;
	$imagekit->fault(kind => 'stall', method => 'GET', count => 1);
	$t->insert($id, $name);
	$t->sql("DELETE FROM patches WHERE id = $id");
	wait_for { $imagekit->stalled } 'in a worker\'s hands';
	my $worker = $t->worker;
	$session->query_safe('BEGIN');
	$t->sql("SELECT pg_terminate_backend($worker)");
	wait_for { $t->worker ne $worker } 'it is dead';
	$session->query_safe('SELECT imagekit.retry()');
	$imagekit->no_faults;
	$imagekit->release;
	is($t->sql('SELECT count(*) FROM imagekit.claims'), 1, "$name: an open transaction has taken it back");
}

my $operator = $t->node->background_psql('postgres', on_error_stop => 0);

orphaned_by_operator($operator, 1, 'committed.jpg');
$t->insert(2, 'other.jpg');
$t->sql('DELETE FROM patches WHERE id = 2');
eventually { $t->files(prefix => '/other') } '', 'other files go meanwhile';
is($t->messages(q{SET statement_timeout = '5s'; SELECT imagekit.cancel(relation => 'modules')}), '', 'another operator does not wait either');
$operator->query(q{SET statement_timeout = '5s'; SELECT imagekit.cancel(relation => 'modules')});
is($operator->{stderr}, '', 'nor does the same one for a worker that waits for him');
is($t->pending, 1, 'the file is still to be seen');
stays { $t->files } '/committed.jpg', 'and waits for him', 1;
$operator->query_safe('COMMIT');
eventually { $t->files . $t->pending } '0', 'committed: it goes';

orphaned_by_operator($operator, 3, 'rolled_back.jpg');
# A worker that has come meanwhile, and has work of its own for longer than that transaction lasts.
$imagekit->fault(kind => 'stall', method => 'DELETE', count => 1);
$t->insert(4, 'slow.jpg');
$t->sql('DELETE FROM patches WHERE id = 4');
wait_for { $imagekit->stalled } 'a worker is at another file';
$operator->query_safe('ROLLBACK');
eventually { $t->files } '/slow.jpg', 'rolled back: the worker takes it back, busy as it is';
$imagekit->release;
eventually { $t->pending } 0, 'and all is done';
is($t->history, 'deleted committed.jpg, deleted other.jpg, deleted rolled_back.jpg, deleted slow.jpg', 'each once');
is($t->log =~ /deadlock/, '', 'without a deadlock');
$operator->quit;

done_testing();
