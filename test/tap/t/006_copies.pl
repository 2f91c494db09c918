# A copy of a database deletes nothing: neither a restored dump, nor a TEMPLATE copy. Its tables are watched as before.

use strict;
use warnings;

use ImageKit::Test;
use PostgreSQL::Test::Utils;
use Test::More;

my $t = ImageKit::Test->new;
my ($node, $imagekit) = ($t->node, $t->imagekit);
my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump.sql';

$t->insert(1, 'one.jpg');
$t->insert(2, 'two.jpg');
$t->sql(q{SELECT imagekit.watch('modules', '{images}', grace => '1 day', on_truncate => 'deny')});
$t->sql('SELECT imagekit.disable(); DELETE FROM patches WHERE id = 1');
is($t->pending, 1, 'the original has something in its queue');

$node->command_ok([ 'pg_dump', '-d', $node->connstr('postgres'), '-f', $dump ], 'pg_dump');
$t->sql('CREATE DATABASE restored');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('restored'), '-f', $dump ], 'restore without an error');

is($t->sql(q{SELECT relation, sources, grace, on_truncate, active FROM imagekit.watched ORDER BY relation::text DESC}, 'restored'),
	"patches|{images,schema.imageUrl}||capture|t\nmodules|{images}|1 day|deny|t", 'the restored tables are watched as before');
is($t->pending('restored'), 0, 'the queue is not dumped');
like($t->cause('restored'), qr/enable\(\) has not been called/, 'the copy is not armed');
$t->sql('DELETE FROM patches WHERE id = 2', 'restored');
is($t->pending('restored'), 1, 'it captures');
stays { $t->files } '/one.jpg /two.jpg', 'and sends nothing';

$t->sql('SELECT imagekit.enable()');
eventually { $t->files } '/two.jpg', 'the original goes on';
wait_for { $t->worker eq '' } 'its worker has left';
$t->sql('CREATE DATABASE twin TEMPLATE postgres');
$t->sql('DELETE FROM patches WHERE id = 2', 'twin');
like($t->cause('twin'), qr/^this database is a copy/, 'a TEMPLATE copy knows that it is one');
stays { $t->files } '/two.jpg', 'and sends nothing';
$t->sql('SELECT imagekit.enable()', 'twin');
eventually { $t->files } '', 'until it is armed itself';

done_testing();
