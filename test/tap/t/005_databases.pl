# Several databases: only those that are armed send; each can be stopped, dropped, and emptied of the extension.

use strict;
use warnings;

use ImageKit::Test;
use Test::More;

my $t = ImageKit::Test->new;
my ($node, $imagekit) = ($t->node, $t->imagekit);
$t->sql('CREATE DATABASE second');
$t->sql('CREATE DATABASE plain');
$t->prepare(db => 'second', enable => 0);

sub delete_in
{
	my ($db, $name) = @_;
	$imagekit->seed("/$name.jpg");
	$t->sql(qq{INSERT INTO patches VALUES (1, '{$ENDPOINT/$name.jpg}'); DELETE FROM patches WHERE id = 1}, $db);
	return;
}

delete_in('second', 'disarmed');
delete_in('postgres', 'armed');
eventually { $t->files } '/disarmed.jpg', 'an armed database sends, one beside it that is not armed does not';
is($t->pending('second'), 1, 'but queues');
is($t->cause('second'), 'imagekit.enable() has not been called in this database', 'and says why in status');

$t->sql('SELECT imagekit.enable()', 'second');
eventually { $t->files } '', 'enable() sends what had waited';

$t->sql('SELECT imagekit.disable()', 'second');
delete_in('second', 'stopped');
stays { $t->files } '/stopped.jpg', 'disable() stops sending';
$t->sql('SELECT imagekit.enable()', 'second');
eventually { $t->files } '', 'and enable() resumes it';

# What is set for people's sessions must not stop the worker.
$t->sql(qq{
	ALTER DATABASE postgres SET default_transaction_read_only = on;
	ALTER DATABASE postgres SET default_transaction_isolation = 'serializable';
	ALTER DATABASE postgres SET search_path = '';
	ALTER DATABASE postgres SET session_replication_role = replica});
wait_for { $t->worker eq '' } 'the worker has left';
$imagekit->seed('/settings.jpg');
$t->sql(qq{
	SET default_transaction_read_only = off;
	SET session_replication_role = origin;
	INSERT INTO public.patches VALUES (1, '{$ENDPOINT/settings.jpg}');
	DELETE FROM public.patches WHERE id = 1});
eventually { $t->files } '', 'read only, serializable, replica, without a search_path: the worker works';
$t->sql(q{SET default_transaction_read_only = off; ALTER DATABASE postgres RESET ALL});

# The kill switch ---------------------------------------------------------------------------------------------------------

$t->setting('imagekit_cleanup.enabled', 'off');
wait_for { $t->cause eq 'imagekit_cleanup.enabled is off' } 'the setting is read';
delete_in('postgres', 'killed');
stays { $t->files } '/killed.jpg', 'imagekit_cleanup.enabled = off stops every database';
is($t->pending, 1, 'capture goes on');
$t->setting('imagekit_cleanup.enabled', 'on');
eventually { $t->files } '', 'and on, by a reload, sends at once';

# In nobody's way ---------------------------------------------------------------------------------------------------------

delete_in('second', 'last');
eventually { $t->files } '', 'second works to the end';
is($t->messages('DROP DATABASE second'), '', 'a database whose worker has just worked can be dropped');

is($t->messages('SET client_min_messages = error; DROP EXTENSION imagekit_cleanup CASCADE'), '', 'the extension can be dropped');
is($t->messages(q{DROP TABLE patches, modules; DROP SCHEMA imagekit}), '', 'with all that belongs to it');
$t->prepare;
delete_in('postgres', 'again');
eventually { $t->files } '', 'created anew and armed, it works again';
is((grep { /ERROR|FATAL|PANIC/ } $t->log_lines(qr/./)), 0, 'no error in the log') or diag $t->log;

done_testing();
