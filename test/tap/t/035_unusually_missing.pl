# Unusually many files that are not there stop the account before they are settled as not found; what is normal does not.

use strict;
use warnings;

use ImageKit::Test;
use Test::More;

my $t = ImageKit::Test->new;
my $imagekit = $t->imagekit;
my $id = 0;

# A row whose images need not exist; deletes it.
sub remove
{
	my (@names) = @_;
	$id++;
	$t->sql("INSERT INTO patches VALUES ($id, ARRAY[" . join(',', map { "'$ENDPOINT/$_'" } @names) . "]::text[]); DELETE FROM patches");
	return;
}

sub names { my ($name, $count) = @_; return map { "$name$_.jpg" } 1 .. $count }
sub settled { return $t->sql('SELECT count(*) FROM imagekit.history') }
sub stopped_warnings { return scalar $t->log_lines(qr/^WARNING:  imagekit_cleanup stops sending for server "acme"$/); }

# Without a past, and with nothing under way.
sub begin_anew
{
	$t->sql('SELECT imagekit.disable()');
	wait_for { $t->worker eq '' } 'the worker leaves';
	$t->sql("DELETE FROM imagekit.$_") for 'history', 'missing_runs', 'backlog', 'claims', 'account_state';
	$t->mark_log;
	$t->sql('SELECT imagekit.enable()');
	return;
}

$imagekit->seed('/stays.jpg');
my $cause = qr/^unusually many files are not found, 20 in a row or 40 of the last 50: .*ALTER SERVER acme OPTIONS \(ADD allow_missing 'true'\).*next try at/;

# In a row --------------------------------------------------------------------------------------------------------------

begin_anew();
remove(names('few', 19));
eventually { settled() } '19', '19 that are not there are settled as ever';

remove('one-more.jpg');
eventually { $t->cause } $cause, 'the twentieth in a row stops the account, though another worker has seen the others; the cause says what to do';
wait_for { $t->sql('SELECT failures FROM imagekit.account_state') >= 3 } 'it is tried again';
is(settled(), '19', 'it is not settled');
eventually { $t->sql('SELECT state, attempts FROM imagekit.pending') } 'waiting|0', 'waits, and no attempt counts';
is(stopped_warnings(), 1, 'the log says it once');
is($t->log_lines(qr/not found on ImageKit: .*one-more/), 0, 'and does not call it not found');

$t->insert(1000, 'there.jpg');
$t->sql('DELETE FROM patches');
eventually { $t->history } qr/deleted there\.jpg/, 'a file that is there is believed';
eventually { $t->pending } '0', 'then the others, too';
is($t->log_lines(qr/^LOG:  imagekit_cleanup sends for server "acme" again$/), 1, 'and the log says so');

# Many at once, the worst case: everything is gone, or seems so.
begin_anew();
remove(names('all', 130));
eventually { $t->cause } $cause, '130 that are not there';
wait_for { $t->sql('SELECT failures FROM imagekit.account_state') >= 4 } 'it is tried again';
is(settled(), '0', 'not one is settled');
is($t->log_lines(qr/not found on ImageKit/), 0, 'nor called not found');
is(stopped_warnings(), 1, 'the log says it once');
$t->node->restart;
stays { settled() } '0', 'nor is one after a restart', 2;

# By hand: the outcome is somebody's to look at, and changes nothing for the worker.
is($t->sql("SELECT imagekit.delete_file('$ENDPOINT/nonsense.jpg')"), 't', 'delete_file() goes on as ever');
is($t->sql('SELECT DISTINCT outcome FROM imagekit.delete_files(ARRAY(SELECT ' . "'$ENDPOINT/nonsense' || i || '.jpg' FROM generate_series(1, 60) i))"),
	'not_found', 'and delete_files()');

# The operator's word.
$t->sql(q{ALTER SERVER acme OPTIONS (ADD allow_missing 'true')});
eventually { $t->pending } '0', q{allow_missing 'true': all are settled as not found};
is($t->sql(q{SELECT count(*) FROM imagekit.history WHERE outcome = 'not_found' AND relation ~ 'patches'}), '130', 'each once');
$t->sql('ALTER SERVER acme OPTIONS (DROP allow_missing)');
remove(names('after', 10));
eventually { settled() } '201', 'switched off again, the run begins anew';
like($t->messages(q{ALTER SERVER acme OPTIONS (ADD allow_missing 'perhaps')}), qr/invalid value for option "allow_missing": "perhaps"/, 'it is a boolean');

# By hand nothing stops the account, however much is not there.
begin_anew();
$t->sql("SELECT imagekit.delete_file('$ENDPOINT/none' || i || '.jpg') FROM generate_series(1, 60) i");
$t->insert(1001, 'well.jpg');
remove('not-well.jpg');
eventually { $t->pending . $t->files } '0/stays.jpg', '60 times nonsense by hand, and the worker goes on';

# A share ---------------------------------------------------------------------------------------------------------------

begin_anew();
my @mixed = map { $_ % 5 ? "absent$_.jpg" : "present$_.jpg" } 1 .. 49;
$imagekit->seed(map { "/$_" } grep { /present/ } @mixed);
remove(@mixed);
eventually { settled() } '49', 'four of five are not there: no verdict before there are 50';
remove('absent50.jpg');
eventually { $t->cause } $cause, 'the 50th stops the account';
is(settled(), '49', 'and is not settled');

# What is normal --------------------------------------------------------------------------------------------------------

# Deleted by ourselves, and queued once more under another spelling.
begin_anew();
$imagekit->seed(map { "/$_" } names('twice', 60));
$t->sql(q{ALTER SERVER acme OPTIONS (SET read_rate '900')});
remove(names('twice', 60));
eventually { $t->files . settled() } '/stays.jpg60', '60 files are deleted';
remove(map { "$_?updatedAt=1" } names('twice', 60));
eventually { settled() } '120', 'what we have deleted ourselves may be missing, whatever its spelling';
isnt($t->status, 'stopped', 'and stops nobody');

# A crash after the deletes, before they are settled.
begin_anew();
$imagekit->seed(map { "/$_" } names('crash', 45));
$t->sql(q{ALTER SERVER acme OPTIONS (ADD bulk_size '20')});
$imagekit->fault(kind => 'stall', method => 'DELETE', skip => 2, count => 0);
remove(names('crash', 45));
# Of 20, 20 and 5 the last to go may be any: 25 at least are gone.
wait_for { $imagekit->count <= 21 && $imagekit->stalled } 'two batches are deleted, and the worker waits for the third';
$t->node->stop('immediate');
$imagekit->no_faults;
$imagekit->release;
$t->node->start;
eventually { $t->files . $t->pending } '/stays.jpg0', 'after a crash those that are gone are settled, and the others deleted';
is(stopped_warnings(), 0, 'and the account is not stopped');
$t->sql(q{ALTER SERVER acme OPTIONS (DROP bulk_size)});

# Doubles in a batch count once.
begin_anew();
remove(map { my $n = $_; map { "double$n.jpg?v=$_" } 1 .. 4 } 1 .. 12);
eventually { settled() } '48', 'twelve missing files, each under four spellings: twelve';

# Young ones tell nothing -------------------------------------------------------------------------------------------------

begin_anew();
remove(names('gone', 20));
eventually { $t->cause } $cause, 'stopped';
# All at once: some may just be in the hands of a try.
wait_for { $t->sql('UPDATE imagekit.backlog SET due_at = now() + interval \'1 hour\'; SELECT count(*) FROM imagekit.backlog WHERE due_at > now()') == 20 } 'they wait';
$t->setting('imagekit_cleanup.search_lag', "'30s'");
wait_for { $t->sql('SHOW imagekit_cleanup.search_lag') eq '30s' } 'the reload';
$t->mark_log;
$imagekit->forget;
remove(names('young', 3));
eventually { $t->sql(q{SELECT count(*) FROM imagekit.pending WHERE last_error LIKE 'not found yet%'}) } 3, 'files that a search may not know yet are tried';
is(join(' ', $t->log_lines(qr/sends for server "acme" again/)), '', 'and do not let the account go on');
$t->setting('imagekit_cleanup.search_lag', '0');
wait_for { $t->sql('SHOW imagekit_cleanup.search_lag') eq '0' } 'the reload';

# Found, and gone when they are deleted ---------------------------------------------------------------------------------

begin_anew();
$imagekit->seed(map { "/$_" } names('stale', 30));
$imagekit->fault(kind => 'status', method => 'DELETE', status => 404, json => { message => 'The requested file does not exist.' }, count => 0);
remove(names('stale', 30));
eventually { $t->cause } $cause, 'a library that finds files and has none of them when they are deleted is not believed either';
is(settled(), '19', 'the twentieth is not settled');
$imagekit->no_faults;
eventually { $t->pending . ' ' . $t->files } qr/^0 /, 'and sending goes on when a delete has been done';

done_testing();
