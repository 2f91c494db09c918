# Audits where things are not as usual: in sessions with settings of their own, in databases of other encodings, by roles without rights,
# against limits; and what happens to tables and files at the worst of moments, each by itself.

use strict;
use warnings;

use ImageKit::AuditCall;
use ImageKit::Test;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $t = ImageKit::Test->new(init => [ allows_streaming => 1 ]);
my ($node, $imagekit) = ($t->node, $t->imagekit);
my @old = (createdAt => '2024-05-01T10:00:00.000Z', updatedAt => '2024-05-01T10:00:00.000Z');

sub seed { $imagekit->seed(map { { filePath => $_, size => 1000, @old } } @_); return; }
sub orphans { my ($db) = @_; return $t->sql(q{SELECT string_agg(path, ' ' ORDER BY path) FROM imagekit.orphans}, $db); }
sub dangling { my ($db) = @_; return $t->sql(q{SELECT string_agg(relation || ' ' || row_key || ' ' || path, ' ' ORDER BY path) FROM imagekit.dangling}, $db); }
sub doubtful { return $t->sql(q{SELECT string_agg(path || ': ' || why, E'\n' ORDER BY path) FROM imagekit.doubtful}); }
sub audits { my ($columns) = @_; return $t->sql("SELECT $columns FROM imagekit.audits ORDER BY id DESC LIMIT 1"); }
sub audit { return ImageKit::AuditCall->start($t, @_)->said; }
sub completes { my ($said, $what) = @_; return like($said, qr/NOTICE:  imagekit_cleanup: audit of server "acme": \d+ files/, $what); }

# Begun, and held before the page after SKIP others is answered.
sub held_audit
{
	my ($skip, @how) = @_;
	my $fault = $imagekit->fault(kind => 'stall', contains => 'ASC_CREATED', skip => $skip);
	my $audit = ImageKit::AuditCall->start($t, @how);
	wait_for { $imagekit->stalled > 0 || $audit->ended } 'a page is asked for';
	return $audit;
}

sub go_on { my ($audit) = @_; $imagekit->no_faults; $imagekit->release; return $audit->said; }

$t->sql(q{ALTER SERVER acme OPTIONS (ADD allow_missing 'true')});
seed('/orphan.jpg', map { "/used$_.jpg" } 1 .. 30);
$t->sql("INSERT INTO patches SELECT i, ARRAY['$ENDPOINT/used' || i || '.jpg'] FROM generate_series(1, 30) i");

# Sessions ----------------------------------------------------------------------------------------------------------------

completes(audit(before => "SET default_transaction_isolation = '$_'"), "a session whose transactions are $_") for 'serializable', 'repeatable read';
completes(audit(before => 'CREATE TEMP TABLE imagekit_unused (id int); CREATE TEMP TABLE imagekit_dangling (id int); CREATE TEMP TABLE imagekit_queued (id int)'),
	'a session with temporary tables of whatever name');
completes(audit(options => '-c enable_hashjoin=off -c enable_sort=off -c datestyle=german -c intervalstyle=sql_standard -c search_path=public'),
	'a session with odd settings');
my $twice = audit(sql => 'DO $$ BEGIN CALL imagekit.audit(); CALL imagekit.audit(); END $$');
is((() = $twice =~ /NOTICE:  imagekit_cleanup: audit of server "acme": \d+ files/g), 2, 'twice in one session');
my $caught = audit(sql => q{DO $$ BEGIN CALL imagekit.audit(); EXCEPTION WHEN OTHERS THEN RAISE NOTICE 'caught: %', SQLERRM; END $$}, after => 'CALL imagekit.audit()');
like($caught, qr/NOTICE:  caught: imagekit\.audit\(\) cannot run inside a transaction block/, 'where it cannot commit it says so');
completes($caught, 'and leaves nothing behind that stops the next one');

$t->sql(q{
	CREATE ROLE auditor LOGIN;
	GRANT USAGE ON SCHEMA imagekit TO auditor;
	GRANT EXECUTE ON PROCEDURE imagekit.audit(name, boolean) TO auditor});
my $by_role = audit(before => 'SET SESSION AUTHORIZATION auditor', after => 'SELECT current_user');
completes($by_role, 'a role that may, and nothing else');
like($by_role, qr/^auditor$/m, 'is still itself afterwards');
like(audit(before => 'SET SESSION AUTHORIZATION auditor', sql => 'SELECT * FROM imagekit.audit_runs'), qr/permission denied/, 'and has no rights of the extension');

# Cancelled: it goes on in the same session.
$imagekit->fault(kind => 'stall', contains => 'ASC_CREATED', ms => 2000);
my $said;
my $cancelled = audit(before => q{SET statement_timeout = '500ms'}, sql => 'CALL imagekit.audit(NULL, true)', after => 'RESET statement_timeout; SELECT state, problem FROM imagekit.audits ORDER BY id DESC LIMIT 1');
like($cancelled, qr/ERROR:  canceling statement due to statement timeout/, 'a time limit cancels it');
eventually { $t->sql(q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'}) } '0', 'and no lock is left';
like($cancelled, qr/^incomplete\|broken off while it was at: listing\. CALL imagekit\.audit\(\) within a day goes on from there$/m, 'the view says what became of it');
$imagekit->no_faults;
my $id = audits('id');
completes(audit(), 'the next call completes it');
is(audits('id, state'), "$id|complete", 'and it is the same audit');
cmp_ok($t->sql(q{SELECT sum(requests) FROM imagekit.request_metrics WHERE request = 'list'}), '>', 10, 'pages are counted among the requests');

# The account is dropped meanwhile.
$imagekit->accounts(account => 'acme2', keys => ['private_second'], url_endpoints => ['acme2']);
$t->sql(qq{
	CREATE SERVER acme2 FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint 'https://ik.imagekit.io/acme2', api_url '@{[ $imagekit->url ]}');
	CREATE USER MAPPING FOR PUBLIC SERVER acme2 OPTIONS (private_key 'private_second')});
my $of_dropped = held_audit(0, sql => q{CALL imagekit.audit('acme2')});
$t->sql('SET client_min_messages = error; DROP SERVER acme2 CASCADE');
$said = go_on($of_dropped);
like($said, qr/WARNING:  audit of server "acme2" is not complete: the server is not there any more\nHINT:  There is nothing to go on with\.$/m, 'an account that is dropped has no audit to go on with');
is($t->sql(q{SELECT state FROM imagekit.audit_runs ORDER BY id DESC LIMIT 1}), 'abandoned', 'and it is not kept for that');
# URLs ------------------------------------------------------------------------------------------------------------------

# Text that goes on behind a URL without a space.
my @texts = ("See %s\xc2\xa0and more", "See %s\xe3\x80\x82", "He said \xe2\x80\x9c%s\xe2\x80\x9d", "See %s\\nNext line", "See %s\xe2\x80\x8b x",
	"\xe8\xa7\x81%s\xef\xbc\x8c\xe5\x92\x8c$ENDPOINT/used1.jpg", '%s!', '%s...', '%s**', "%s\xe2\x80\xa8x", "\xc2\xab%s\xc2\xbb");
seed(map { "/text$_.jpg" } 0 .. $#texts);
$t->sql(sprintf "INSERT INTO patches VALUES (%d, ARRAY[\$\$$texts[$_]\$\$])", 2000 + $_, "$ENDPOINT/text$_.jpg") for 0 .. $#texts;
completes(audit(), 'URLs with text directly behind them');
is(orphans(), '/orphan.jpg', 'make none of their files an orphan');
is(scalar(() = doubtful() =~ m{^/text\d+\.jpg: a URL in public\.patches cannot be read with certainty}mg), scalar @texts, 'but put it in doubt');
$t->sql('SET session_replication_role = replica; DELETE FROM patches WHERE id >= 2000');
$imagekit->remove(map { "/text$_.jpg" } 0 .. $#texts);

# Limits ------------------------------------------------------------------------------------------------------------------

# Answers that are too large: smaller ones are asked for.
my $before_large = ($imagekit->pages)[-1]{seq};
$imagekit->fault(kind => 'huge_body', bytes => 10_000_000, contains => 'ASC_CREATED', count => 2);
completes(audit(arguments => 'NULL, true'), 'an answer that is too large is asked for again');
is(join(' ', map { $_->{query}{limit} } grep { $_->{seq} > $before_large } $imagekit->pages) =~ s/^(1000 1000 500) .*/$1/r, '1000 1000 500', 'with fewer entries');
$imagekit->no_faults;

$t->sql(qq{
	CREATE TABLE much (id int, images text[]);
	INSERT INTO much SELECT i, ARRAY(SELECT format('$ENDPOINT/used%s.jpg', 1 + n % 30) FROM generate_series(1, 100) n) FROM generate_series(1, 2000) i;
	SELECT imagekit.watch('much', '{images}', create_index => false)});
my $before = orphans();
my $limited = audit(before => q{SET temp_file_limit = '1MB'});
like($limited, qr/WARNING:  audit of server "acme" is not complete: the watched tables cannot be read: temporary file size exceeds temp_file_limit/, 'no room for temporary files');
is(orphans(), $before, 'and the orphans are those of before');
is(audits('state'), 'incomplete', 'it can be gone on with');
completes(audit(), 'where there is room');
$t->sql(q{SELECT imagekit.unwatch('much'); DROP TABLE much});

# Many URLs without a file: so many are listed, and all are counted.
$t->sql("INSERT INTO patches SELECT 1000 + i, ARRAY['$ENDPOINT/none/' || i || '.jpg', '$ENDPOINT/none/one.jpg'] FROM generate_series(1, 20) i");
completes(audit(), 'URLs without a file');
is(audits('dangling'), '40', 'are counted');
$t->sql('DELETE FROM imagekit.audit_dangling; SELECT imagekit.compare_dangling(max(id), 5) FROM imagekit.audit_runs');
is($t->sql('SELECT count(*) FROM imagekit.dangling'), '5', 'no more than so many of a table are listed');
is(audits('dangling'), '40', 'and all are counted all the same');
$t->sql('DELETE FROM patches WHERE id > 1000');
eventually { $t->pending } '0', 'the queue is empty';

# Tables ------------------------------------------------------------------------------------------------------------------

# One that somebody keeps locked.
my $locker = $node->background_psql('postgres');
my $locker_pid = $locker->query_safe('SELECT pg_backend_pid()');
$locker->query_safe('BEGIN; LOCK TABLE modules');
like(audit(), qr/WARNING:  audit of server "acme" is not complete: the watched tables cannot be read: table public\.modules: it is locked by process $locker_pid$/m,
	'a table that is locked is named, and who has locked it');
$locker->quit;
completes(audit(), 'when it is not any more, the audit goes on');

# One that takes seconds to read stands between two others. While the audit is there, it is stopped, and the tables change, without
# triggers: what is queued is no orphan anyway.
$t->sql(qq{
	CREATE TABLE first (id int, url text);
	CREATE TABLE slow (id int, body text);
	CREATE TABLE last (id int, url text);
	CREATE TABLE parted (id int, url text) PARTITION BY LIST (id);
	CREATE TABLE part (id int, url text);
	SELECT imagekit.watch('first', '{url}'), imagekit.watch('slow', '{body}', create_index => false);
	SELECT imagekit.watch('last', '{url}'), imagekit.watch('parted', '{url}');
	ALTER TABLE slow ALTER COLUMN body SET STORAGE EXTENDED;
	INSERT INTO slow SELECT i, repeat('https filler text, ', 50000) FROM generate_series(1, 150) i});
seed(map { "/wanders$_.jpg" } 1 .. 5);
$t->sql("INSERT INTO last VALUES (1, '$ENDPOINT/wanders1.jpg')");
my $back = 'SET session_replication_role = replica; BEGIN; INSERT INTO last SELECT * FROM first; DELETE FROM first; COMMIT';

sub change_while_read
{
	my ($what, $sql, %how) = @_;
	my $locks = sub { my ($pid) = @_; return $t->sql("SELECT count(*) FROM pg_locks WHERE pid = $pid AND relation = 'slow'::regclass"); };
	# On a busy machine the moment in the middle of the slow one may be missed: then nothing was changed, and another audit is begun.
	for (1 .. 10)
	{
		my $audit = ImageKit::AuditCall->start($t, patience => 120, %how);
		my $pid = $audit->at('references') ? $audit->backend : '';
		wait_for { $audit->ended || $locks->($pid) > 0 } 'the slow table is read' if $pid ne '';
		my $stopped = $pid ne '' && !$audit->ended && kill('STOP', $pid);
		my $in_time = $stopped && $locks->($pid) > 0;
		$t->sql("SET session_replication_role = replica; $sql") if $in_time;
		kill 'CONT', $pid if $stopped;
		return completes($audit->said, "$what, while the tables are read") if $in_time;
		$audit->said;
	}
	die 'the slow table is read too fast';
}

change_while_read('all rows of a table go to another', 'BEGIN; INSERT INTO first SELECT * FROM last; TRUNCATE last; COMMIT', before => "SET default_transaction_isolation = '$_'"),
  unlike(orphans(), qr/wanders1/, 'what they use is no orphan'), $t->sql($back)
  for 'read committed', 'serializable';
change_while_read('a table is rewritten when its rows have gone', "BEGIN; INSERT INTO first SELECT * FROM last; DELETE FROM last; COMMIT; ALTER TABLE last ALTER COLUMN id TYPE bigint");
unlike(orphans(), qr/wanders1/, 'what they use is no orphan');
$t->sql("ALTER TABLE last ALTER COLUMN id TYPE int; $back");
$t->sql("INSERT INTO part VALUES (2, '$ENDPOINT/wanders2.jpg'); ALTER TABLE part INHERIT last");
change_while_read('a child leaves a table for another', "BEGIN; ALTER TABLE part NO INHERIT last; ALTER TABLE part INHERIT first; COMMIT");
unlike(orphans(), qr/wanders2/, 'what its rows use is no orphan');
$t->sql("CREATE TABLE late (id int, url text); INSERT INTO late VALUES (3, '$ENDPOINT/wanders3.jpg')");
my $watched = ImageKit::AuditCall->start($t, patience => 120);
change_while_read('a table comes to be watched', q{SELECT imagekit.watch('late', '{url}')}) if $watched->said;
unlike(orphans(), qr/wanders3/, 'what its rows use is no orphan');
change_while_read('a table is dropped', 'DROP TABLE late');
like(orphans(), qr/wanders3/, 'what its rows used is one');
$t->sql(q{SELECT imagekit.unwatch('slow'); DROP TABLE slow});

# Files -------------------------------------------------------------------------------------------------------------------

seed('/elsewhere.jpg', '/lone.jpg', '/again.jpg', '/somewhere.jpg');
$t->setting('imagekit_cleanup.search_lag', "'1500ms'");
wait_for { $t->sql('SHOW imagekit_cleanup.search_lag') eq '1500ms' } 'the reload';
$t->sql("INSERT INTO patches VALUES (100, '{$ENDPOINT/somewhere.jpg}')");

# Moved, while the search shows it at both places.
$imagekit->switch(index_delay_deleted_ms => 600_000);
$imagekit->rename('/elsewhere.jpg', 'moved.jpg');
$imagekit->rename('/lone.jpg', 'alone.jpg');
$t->sql("UPDATE patches SET images = '{$ENDPOINT/somewhere.jpg, $ENDPOINT/moved.jpg}' WHERE id = 100");
completes(audit(), 'a file that is listed at two places');
unlike(orphans(), qr/elsewhere|moved/, 'is no orphan');
is(dangling(), '', 'and does not dangle');
like(doubtful(), qr{^/\w+\.jpg: it is listed at two paths}m, 'one that nobody uses is in doubt');
$imagekit->switch(index_delay_deleted_ms => 0);

# Moved when it has been listed, and its row after it; the queue finds nothing any more at the old path.
my $moved = held_audit(1, patience => 60);
$imagekit->rename('/somewhere.jpg', 'nowhere.jpg');
$t->sql("UPDATE patches SET images = '{$ENDPOINT/nowhere.jpg, $ENDPOINT/moved.jpg}' WHERE id = 100");
$imagekit->no_faults;
eventually { $t->sql(q{SELECT outcome FROM imagekit.history WHERE url LIKE '%/somewhere.jpg'}) } 'not_found', 'the queue does not find it';
completes(go_on($moved), 'a file that is moved when it has been listed');
unlike(orphans(), qr/somewhere/, 'is no orphan where it was');

# Uploaded once more while the library is listed: its row may be just about to be written.
my $again = held_audit(0, patience => 60);
$imagekit->seed('/again.jpg');
completes(go_on($again), 'a file that is uploaded once more while the library is listed');
unlike(orphans(), qr/again/, 'is no orphan this time');

# Deleted a moment ago, and still listed.
$t->setting('imagekit_cleanup.search_lag', "'3s'");
wait_for { $t->sql('SHOW imagekit_cleanup.search_lag') eq '3s' } 'the reload';
seed('/ghost.jpg');
$imagekit->switch(index_delay_deleted_ms => 600_000);
$t->sql("INSERT INTO patches VALUES (101, '{$ENDPOINT/ghost.jpg}'); DELETE FROM patches WHERE id = 101");
eventually { $t->history } qr/deleted ghost\.jpg/, 'a file is deleted';
completes(audit(), 'and still listed');
unlike(orphans(), qr/ghost/, 'it is no orphan');
$imagekit->switch(index_delay_deleted_ms => 0);

# The search does not come to know of files in the order of their creation: one that is listed late was created before others.
my $now = int(time() * 1000) - 2500;
$imagekit->seed(map { { filePath => "/recent$_.jpg", createdAt => $now + 1500 + $_ } } 1 .. 30);
my $behind = held_audit(1, patience => 60);
$imagekit->seed({ filePath => '/behind.jpg', createdAt => $now });
$t->sql("INSERT INTO patches VALUES (102, '{$ENDPOINT/behind.jpg}')");
completes(go_on($behind), 'a file that the search comes to know late');
is(dangling(), '', 'does not dangle');

# Elsewhere ---------------------------------------------------------------------------------------------------------------

# Letters beyond ASCII in a database of another encoding.
for my $encoding (qw(LATIN1 SQL_ASCII))
{
	my $db = lc $encoding;
	$t->sql("CREATE DATABASE $db ENCODING '$encoding' LOCALE 'C' TEMPLATE template0");
	$t->prepare(db => $db);
	my $client = $encoding eq 'LATIN1' ? 'UTF8' : 'SQL_ASCII';
	seed("/caf\x{e9}.jpg", "/th\x{e9}.jpg", "/\x{142}\x{f3}d\x{17a}.jpg") if $encoding eq 'LATIN1';
	$t->sql("SET client_encoding = '$client'; INSERT INTO patches VALUES (1, ARRAY['$ENDPOINT/caf\xc3\xa9.jpg', '$ENDPOINT/no\xc3\xabl.jpg'])", $db);
	completes(ImageKit::AuditCall->start($t, db => $db)->said, "a database in $encoding");
	my $found = $t->sql("SET client_encoding = '$client'; SELECT string_agg(path, ' ' ORDER BY path) FROM imagekit.orphans", $db);
	unlike($found, qr/caf/, 'the file of a row is no orphan');
	like($found, qr{/th\xc3\xa9\.jpg}, 'one of nobody is');
	is($t->sql("SET client_encoding = '$client'; SELECT path FROM imagekit.dangling", $db), "/no\xc3\xabl.jpg", 'and a URL without a file dangles');
	is($t->sql(q{SELECT count(*) FROM imagekit.doubtful WHERE why ~ 'no URL can be made'}, $db), $encoding eq 'LATIN1' ? '1' : '0', 'what the encoding lacks is in doubt');
}

# A standby shows what the primary has found, and audits nothing; promoted, it does.
my $standby = PostgreSQL::Test::Cluster->new('standby');
$node->backup('base');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby);
my $there_too = bless { node => $standby, imagekit => $imagekit }, 'ImageKit::Test';
like($there_too->messages('CALL imagekit.audit()'), qr/ERROR:  cannot execute imagekit\.audit\(\) in a read-only transaction/, 'a standby audits nothing');
is($there_too->sql('SELECT count(*), max(last_seen) FROM imagekit.orphans'), $t->sql('SELECT count(*), max(last_seen) FROM imagekit.orphans'), 'and shows what the primary has found');
is($there_too->sql('SELECT state FROM imagekit.audits ORDER BY id DESC LIMIT 1'), 'complete', 'and the audits');
$node->stop;
$standby->promote;
$there_too->sql('SELECT imagekit.enable()');
completes(ImageKit::AuditCall->start($there_too)->said, 'promoted, it audits');
$standby->stop;

# A snapshot that may become too old to prove anything.
SKIP:
{
	$node->append_conf('postgresql.conf', "imagekit_cleanup.search_lag = 0\n");
	$node->start;
	skip 'this server has no old_snapshot_threshold', 1 if $t->sql(q{SELECT count(*) FROM pg_settings WHERE name = 'old_snapshot_threshold'}) == 0;
	$node->append_conf('postgresql.conf', "old_snapshot_threshold = 0\n");
	$node->restart;
	like(audit(), qr/WARNING:  audit of server "acme" is not complete: the watched tables cannot be read: it took longer than old_snapshot_threshold/,
		'tables that take longer to read than old rows are kept prove nothing');
}

done_testing();
