# Two-phase commit: what was captured belongs to the prepared transaction, through a restart, until somebody decides.
# COMMIT PREPARED is run by a session that has captured nothing, so it wakes no worker: the launcher's poll must find it.

use strict;
use warnings;

use ImageKit::Test;
use Test::More;

my $t = ImageKit::Test->new(settings => { max_prepared_transactions => 5 });
my $imagekit = $t->imagekit;

$t->insert(1, 'one.jpg');
$t->insert(2, 'two.jpg');
$t->insert(3, 'three.jpg');

$t->sql("BEGIN; DELETE FROM patches WHERE id = 1; PREPARE TRANSACTION 'one'");
$t->sql("BEGIN; DELETE FROM patches WHERE id = 2; PREPARE TRANSACTION 'two'");
stays { $t->files . $t->pending } '/one.jpg /three.jpg /two.jpg0', 'a prepared transaction deletes and shows nothing', 2;

# The first poll that finds nothing must not be the last: the worker has come and gone in the meantime.
wait_for { $t->worker eq '' } 'the worker leaves';
$t->sql("COMMIT PREPARED 'one'");
eventually { $t->files } '/three.jpg /two.jpg', 'COMMIT PREPARED is found by the poll, and its file deleted', 8;

$t->sql("ROLLBACK PREPARED 'two'");
stays { $t->files . $t->pending } '/three.jpg /two.jpg0', 'ROLLBACK PREPARED queues nothing', 2;

$t->sql("BEGIN; DELETE FROM patches WHERE id = 3; PREPARE TRANSACTION 'three'");
$t->node->restart;
stays { $t->files } '/three.jpg /two.jpg', 'after a restart the prepared transaction still waits';
$t->sql("COMMIT PREPARED 'three'");
eventually { $t->files } '/two.jpg', 'and is deleted once committed', 8;

# The session that prepared goes on with a buffer of its own.
$t->insert(4, 'four.jpg');
$t->sql(qq{BEGIN; DELETE FROM patches WHERE id = 2; PREPARE TRANSACTION 'again';
	DELETE FROM patches WHERE id = 4; ROLLBACK PREPARED 'again'});
eventually { $t->files . ' ' . $t->history } '/two.jpg deleted four.jpg, deleted one.jpg, deleted three.jpg',
  'a prepared transaction leaves nothing behind in its session';

done_testing();
