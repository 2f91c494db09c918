# The key is nowhere to be read; nobody has a right that was not granted; nobody needs one to delete a row.

use strict;
use warnings;

use ImageKit::Test;
use MIME::Base64;
use Test::More;

# Where contrib is installed, its record of statements is looked at, too.
chomp(my $libraries = `pg_config --pkglibdir`);
my $statements = -e "$libraries/pg_stat_statements.so";
my %statements = (shared_preload_libraries => "'imagekit_cleanup, pg_stat_statements'", 'pg_stat_statements.track' => 'all');
my $t = ImageKit::Test->new(settings => { log_min_messages => 'debug5', $statements ? %statements : () });
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
	GRANT EXECUTE ON FUNCTION imagekit.service, imagekit.account_problem, imagekit.account_of, imagekit.grace_of, imagekit.audit_overdue, imagekit.unpack TO monitor});
is($t->messages('SET ROLE monitor; TABLE imagekit.status; TABLE imagekit.pending; TABLE imagekit.history; TABLE imagekit.watched'), '',
	'a monitoring role sees the views');

# The key -----------------------------------------------------------------------------------------------------------------

# What somebody types is not ours to hide: CREATE USER MAPPING is a statement like any other.
$t->sql('CREATE EXTENSION pg_stat_statements; SELECT FROM pg_stat_statements_reset()') if $statements;

# The forms in which it could leak: as it is, and as the header that libcurl's verbose output would show.
my $header = encode_base64("$KEY:", '');
my $secret = qr/\Q$KEY\E|\Q$header\E/;

# What each way to fail says, to the caller of delete_file() and to whoever reads the tables.
my $url = $imagekit->url;
my %failures = (
	'401' => { kind => 'unauthorized' },
	'403' => { kind => 'forbidden' },
	'a server that repeats what it was sent' => { kind => 'status', status => 500, content_type => 'text/plain',
		body => "Bad request: Authorization: Basic $header key $KEY" },
	'the same as an error of ImageKit' => { kind => 'status', status => 403, json => { message => "no such key: $KEY" } },
	'TLS that fails' => $url =~ s/^http:/https:/r,
	'a connection that is refused' => 'http://127.0.0.1:1');
for my $name (sort keys %failures)
{
	my $failure = $failures{$name};
	if (ref $failure) { $imagekit->fault(%$failure, count => 0) }
	else { $t->sql("ALTER SERVER acme OPTIONS (SET api_url '$failure')") }
	$t->insert(2, 'secret.jpg');
	my $said = $t->messages("DELETE FROM patches WHERE id = 2; SELECT imagekit.delete_file('$ENDPOINT/secret.jpg')");
	like($said, qr/WARNING:  image was not deleted/, "$name: delete_file() fails");
	unlike($said, $secret, 'and does not tell the key');
	$said = $t->sql("SELECT detail FROM imagekit.delete_files('{$ENDPOINT/secret.jpg}')");
	unlike($said, $secret, 'nor does delete_files()');
	wait_for { $t->sql(q{SELECT count(*) FROM imagekit.account_state UNION ALL SELECT count(*) FROM imagekit.backlog WHERE last_error IS NOT NULL}) =~ /[1-9]/ }
	  'the worker has failed, too';
	$imagekit->no_faults;
	$t->sql("ALTER SERVER acme OPTIONS (SET api_url '$url')") unless ref $failure;
	eventually { $t->files . $t->pending } '0', "$name: over, and the image goes";
}

$t->insert(2, 'secret.jpg');
$t->sql('DELETE FROM patches WHERE id = 2');
eventually { $t->files } '', 'work done with log_min_messages = debug5';
$t->sql('TABLE imagekit.status; TABLE imagekit.history; TABLE imagekit.pending');
my $log = do { local $/; open my $fh, '<', $node->logfile or die; <$fh> };
unlike($log, qr/\Q$KEY\E/, 'the key is not in the server log');
unlike($log, qr/\Q$header\E/, 'nor as it is sent');
unlike($log, qr/> (?:GET|DELETE) \/v1|user-agent:/i, 'nor what libcurl tells when it is verbose');
my @relations = split /\n/, $t->sql(q{SELECT oid::regclass FROM pg_class WHERE relnamespace = 'imagekit'::regnamespace AND relkind IN ('r', 'v', 'm', 'p')});
cmp_ok(@relations, '>=', 10, 'every table and view of the schema');
for my $relation (@relations, 'pg_stat_activity', 'pg_foreign_server', 'pg_settings', $statements ? 'pg_stat_statements' : ())
{
	unlike($t->sql("SELECT string_agg(x::text, ' ') FROM $relation x") // '', $secret, "nor in $relation");
}

# A key file --------------------------------------------------------------------------------------------------------------

my $file = $node->data_dir . '/imagekit.key';
open my $fh, '>', $file or die;
print $fh "$KEY\n";
close $fh;
chmod 0644, $file;
$t->sql("ALTER USER MAPPING FOR PUBLIC SERVER acme OPTIONS (DROP private_key, ADD private_key_file '$file')");
like($t->cause, qr/may be read by others; run chmod 600/, 'a key file that others may read is refused');
chmod 0600, $file;
$t->setting('imagekit_cleanup.worker_idle_timeout', "'60s'");
$t->insert(3, 'from-file.jpg');
$t->sql('DELETE FROM patches WHERE id = 3');
eventually { $t->files } '', 'one that nobody else may read is used';
my $worker = $t->worker;
open $fh, '>', $file or die;
print $fh "private_rotated\n";
close $fh;
$imagekit->accounts(account => 'acme', keys => ['private_rotated']);
$t->insert(4, 'rotated.jpg');
$t->sql('DELETE FROM patches WHERE id = 4');
eventually { $t->files } '', 'a rotated key is read without a restart';
is($t->worker, $worker, 'by the same worker');

# Memory: what somebody would find in a core dump. A backend that has deleted by hand looks at its own, by patterns that do not
# match themselves.
$t->sql(q{
	CREATE FUNCTION count_in_memory(pattern text) RETURNS bigint LANGUAGE plpgsql AS $$
	DECLARE
		range text[]; at bigint; high bigint; found bigint := 0; chunk CONSTANT int := 1 << 20;
	BEGIN
		FOR range IN SELECT regexp_matches(line, '^([0-9a-f]+)-([0-9a-f]+) rw-p') FROM regexp_split_to_table(pg_read_file('/proc/self/maps'), '\n') AS line LOOP
			at := ('x' || lpad(range[1], 16, '0'))::bit(64)::bigint;
			high := ('x' || lpad(range[2], 16, '0'))::bit(64)::bigint;
			WHILE at < high LOOP
				found := found + (SELECT count(*) FROM regexp_matches(
					encode(pg_read_binary_file('/proc/self/mem', at, least(chunk, high - at), true), 'escape'), pattern, 'g'));
				at := at + chunk;
			END LOOP;
		END LOOP;
		RETURN found;
	END $$});
$imagekit->seed('/memory.jpg');
my $sent = encode_base64('private_rotated:', '') =~ s/=+$//r =~ s/(.)$/[$1]/r;
is($t->sql(qq{
	SELECT imagekit.delete_file('$ENDPOINT/memory.jpg');
	SELECT count_in_memory('private_rotate[d]'), count_in_memory('$sent');
	SELECT set_config('a.b', 'private_' || 'rotated', false) <> '';
	SELECT count_in_memory('private_rotate[d]') > 0}), "t\n0|0\nt\nt", 'a key from a file is not in memory after its use; what is, would be found');
$imagekit->fault(kind => 'unauthorized', count => 0);
$imagekit->seed('/refused.jpg');
is($t->sql(qq{
	SET client_min_messages = error;
	SELECT imagekit.delete_file('$ENDPOINT/refused.jpg');
	SELECT count_in_memory('private_rotate[d]'), count_in_memory('$sent')}), "f\n0|0", 'nor when it is refused');

done_testing();
