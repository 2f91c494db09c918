# The key is nowhere to be read; nobody has a right that was not granted; nobody needs one to delete a row.

use strict;
use warnings;

use ImageKit::Test;
use Test::More;

my $t = ImageKit::Test->new(settings => { log_min_messages => 'debug5' });
my ($node, $imagekit) = ($t->node, $t->imagekit);

# Rights ------------------------------------------------------------------------------------------------------------------

$t->sql(q{
	CREATE ROLE clerk;
	GRANT SELECT, DELETE ON patches TO clerk;
	CREATE SCHEMA hostile;
	CREATE TABLE hostile.outbox (x int);
	CREATE FUNCTION hostile.url_key(text) RETURNS text LANGUAGE sql AS $$ SELECT (1/0)::text $$;
	CREATE FUNCTION hostile.eq(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'hostile'; END $$;
	CREATE OPERATOR hostile.= (LEFTARG = text, RIGHTARG = text, FUNCTION = hostile.eq);
	GRANT USAGE ON SCHEMA hostile TO clerk});
$t->insert(1, 'clerk.jpg');
is($t->messages('SET ROLE clerk; SET search_path = hostile, pg_temp, public; DELETE FROM public.patches'), '',
	'a role with no right but DELETE on the table deletes, whatever its search_path holds');
eventually { $t->files } '', 'and the image goes';

for my $sql (
	'SELECT * FROM imagekit.status', 'SELECT * FROM imagekit.pending', 'SELECT * FROM imagekit.history', 'TABLE imagekit.outbox',
	'SELECT imagekit.enable()', q{SELECT imagekit.delete_file('x')}, q{SELECT imagekit.enqueue('{}')}, 'CALL imagekit.drain()',
	q{SELECT imagekit.watch('patches', '{images}')})
{
	like($t->messages("SET ROLE clerk; $sql"), qr/ERROR:  permission denied for schema imagekit/, "PUBLIC may not: $sql");
}
$t->sql('GRANT USAGE ON SCHEMA imagekit TO clerk');
like($t->messages("SET ROLE clerk; SELECT imagekit.enable()"), qr/ERROR:  permission denied for function enable/,
	'nor with the schema alone');
$t->sql('GRANT EXECUTE ON FUNCTION imagekit.watch TO clerk');
like($t->messages("SET ROLE clerk; SELECT imagekit.watch('patches', '{images}')"), qr/ERROR:  must be owner of table patches/,
	'only its owner may watch a table');
$t->sql('CREATE TABLE own (image text); ALTER TABLE own OWNER TO clerk');
is($t->messages(q{SET ROLE clerk; SELECT imagekit.watch('own', '{image}')}), '', 'who needs nothing else');

# The README's recipe for a role that only looks.
$t->sql(q{
	CREATE ROLE monitor;
	GRANT USAGE ON SCHEMA imagekit TO monitor;
	GRANT SELECT ON imagekit.status, imagekit.pending, imagekit.history, imagekit.watched TO monitor;
	GRANT EXECUTE ON FUNCTION imagekit.service, imagekit.account_problem, imagekit.account_of, imagekit.grace_of, imagekit.unpack TO monitor});
is($t->messages('SET ROLE monitor; TABLE imagekit.status; TABLE imagekit.pending; TABLE imagekit.history; TABLE imagekit.watched'), '',
	'a monitoring role sees the views');

# The key -----------------------------------------------------------------------------------------------------------------

$imagekit->fault(kind => 'forbidden', count => 1);
$t->insert(2, 'secret.jpg');
$t->sql('DELETE FROM patches WHERE id = 2');
eventually { $t->files } '', 'work done with log_min_messages = debug5';
$t->sql('TABLE imagekit.status; TABLE imagekit.history; TABLE imagekit.pending');
my $log = do { local $/; open my $fh, '<', $node->logfile or die; <$fh> };
unlike($log, qr/\Q$KEY\E/, 'the key is not in the server log');
for my $table ('status', 'history', 'pending', 'watched', 'account_state', 'backlog', 'arming')
{
	unlike($t->sql("SELECT string_agg(x::text, ' ') FROM imagekit.$table x") // '', qr/\Q$KEY\E/, "nor in imagekit.$table");
}
unlike($t->sql(q{SELECT string_agg(query, ' ') FROM pg_stat_activity WHERE backend_type ~ 'imagekit'}), qr/\Q$KEY\E/, 'nor in pg_stat_activity');

# A key file --------------------------------------------------------------------------------------------------------------

my $file = $node->data_dir . '/imagekit.key';
open my $fh, '>', $file or die;
print $fh "$KEY\n";
close $fh;
chmod 0644, $file;
$t->sql("ALTER USER MAPPING FOR PUBLIC SERVER acme OPTIONS (DROP private_key, ADD private_key_file '$file')");
like($t->cause, qr/may be read by others; run chmod 600/, 'a key file that others may read is refused');
chmod 0600, $file;
$t->insert(3, 'from-file.jpg');
$t->sql('DELETE FROM patches WHERE id = 3');
eventually { $t->files } '', 'one that nobody else may read is used';
open $fh, '>', $file or die;
print $fh "private_rotated\n";
close $fh;
$imagekit->accounts(account => 'acme', keys => ['private_rotated']);
$t->insert(4, 'rotated.jpg');
$t->sql('DELETE FROM patches WHERE id = 4');
eventually { $t->files } '', 'a rotated key is read without a restart';

done_testing();
