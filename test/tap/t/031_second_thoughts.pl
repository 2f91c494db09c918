# An operator's second thoughts beside a drain at work: what is claimed is left alone and said, all else is taken back for
# good, and nobody waits for anybody.

use strict;
use warnings;

use ImageKit::Test;
use Test::More;

my $t = ImageKit::Test->new;
my $imagekit = $t->imagekit;

# Beside a drain that has claimed ---------------------------------------------------------------------------------------

# One delete at a time, and as many files in hand as go into two.
$t->sql(q{ALTER SERVER acme OPTIONS (ADD bulk_size '1', SET write_rate '0.4')});
$imagekit->fault(kind => 'stall', method => 'DELETE', count => 2);
$t->insert(1, 'claimed.jpg', 'claimed2.jpg');
$t->insert(2, 'later.jpg', 'latest.jpg');
$t->sql('DELETE FROM patches WHERE id = 1');
wait_for { $imagekit->stalled == 2 } 'two deletes are under way';
$t->sql('DELETE FROM patches WHERE id = 2');
my ($status, $count, $messages) = $t->node->psql('postgres', q{SELECT imagekit.cancel(server => 'acme')});
is($count, '2', 'cancel() takes back what no drain has claimed, out of the journal');
like($messages, qr/NOTICE:  2 files are being worked on and were left alone/, 'and says what it left alone');
$imagekit->release;
eventually { $t->history } 'deleted claimed.jpg, deleted claimed2.jpg, cancelled later.jpg, cancelled latest.jpg', 'what was claimed goes its way';
$t->sql(q{ALTER SERVER acme OPTIONS (DROP bulk_size, SET write_rate '1000')});
stays { $t->files } '/later.jpg /latest.jpg', 'what was cancelled stays';

# In an open transaction ------------------------------------------------------------------------------------------------

$t->setting('imagekit_cleanup.enabled', 'off');
$t->insert(3, 'open.jpg', 'open2.jpg');
$t->sql('DELETE FROM patches WHERE id = 3');
my $session = $t->node->background_psql('postgres');
sub in_session { my ($sql) = @_; return $session->query_safe($sql); }
in_session(q{BEGIN});
is(in_session(q{SELECT imagekit.cancel(url => 'https://ik.imagekit.io/acme/open.jpg')}), '1', 'an open transaction cancels');
($status, $count, $messages) = $t->node->psql('postgres', q{SELECT imagekit.cancel(server => 'acme')});
is($count, '0', 'another one does not wait for it');
like($messages, qr/WARNING:  another session has part of the journal in its hands/, 'and says what it could not see');
$t->setting('imagekit_cleanup.enabled', 'on');
$t->insert(4, 'meanwhile.jpg');
$t->sql('DELETE FROM patches WHERE id = 4');
eventually { $t->history =~ /(\w+ meanwhile.jpg)/ ? $1 : '' } 'deleted meanwhile.jpg', 'the drain does not wait either';
like($t->files, qr{/open.jpg /open2.jpg}, 'what it took out of the journal is not sent');
in_session('ROLLBACK');
eventually { $t->history =~ /(deleted open.jpg, deleted open2.jpg)/ ? $1 : '' } 'deleted open.jpg, deleted open2.jpg',
  'rolled back, the files go';
$session->quit;

# After a drain that died -----------------------------------------------------------------------------------------------

$imagekit->fault(kind => 'stall', method => 'DELETE', count => 1);
$t->insert(5, 'orphan.jpg');
$t->sql('DELETE FROM patches WHERE id = 5');
wait_for { $imagekit->stalled } 'the delete is under way';
$t->setting('imagekit_cleanup.enabled', 'off');
$t->sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'imagekit_cleanup worker'});
wait_for { $t->worker eq '' } 'the worker has ended';
is($t->sql('SELECT count(*) FROM imagekit.claims'), '1', 'a worker that is stopped leaves its claim');
is($t->sql(q{SELECT imagekit.cancel(url => 'https://ik.imagekit.io/acme/orphan.jpg')}), '1', 'which can be cancelled');
like($t->sql(q{SELECT detail FROM imagekit.history WHERE url ~ 'orphan'}), qr/the process that was working on it ended before/,
	'and the history says that it may have gone');
$imagekit->release;

# Failed, and mended ----------------------------------------------------------------------------------------------------

$imagekit->no_faults;
$t->sql(q{INSERT INTO patches VALUES (6, '{https://ik.imagekit.io/acme/bad%zz.jpg}')});
$t->sql('DELETE FROM patches WHERE id = 6');
$t->setting('imagekit_cleanup.enabled', 'on');
eventually { $t->sql('SELECT state FROM imagekit.pending') } 'failed', 'a file fails';
is($t->sql(q{SELECT imagekit.retry()}), '1', 'retry() takes it up again');
eventually { $t->sql('SELECT state, attempts FROM imagekit.pending') } 'failed|1', 'at once, its attempts counted anew';
is($t->sql(q{SELECT imagekit.discard(relation => 'patches')}), '1', 'discard() gives it up');
is($t->pending, '0', 'and nothing is left');

done_testing();
