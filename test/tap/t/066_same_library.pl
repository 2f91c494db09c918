# Two servers for one library would each delete what is used under the other's prefix: neither sends until that is mended.

use strict;
use warnings;

use ImageKit::Test;
use Test::More;

my $t = ImageKit::Test->new;
my $imagekit = $t->imagekit;
my $api = $imagekit->url;
$imagekit->accounts(account => 'other', keys => ['private_other']);
$t->insert(1, 'cat.jpg');

my @second = (
	[ 'the same key', 'https://images.acme.example', $KEY ],
	[ "the same identifier of ImageKit's", "$ENDPOINT/shop", 'private_other' ],
	[ "the same identifier of ImageKit's", 'https://IK.imgkit.net/acme/shop', 'private_other' ]);
for my $case (@second)
{
	my ($why, $prefix, $key) = @$case;
	$t->sql(qq{CREATE SERVER second FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint '$prefix', api_url '$api');
		CREATE USER MAPPING FOR PUBLIC SERVER second OPTIONS (private_key '$key');
		INSERT INTO modules VALUES (1, '{$prefix/cat.jpg}')});
	my %other = (acme => 'second', second => 'acme');
	for my $server (sort keys %other)
	{
		is($t->sql("SELECT cause FROM imagekit.status WHERE server = '$server'"),
			qq{server "$other{$server}" is for the same library: $why. A row that uses a file under a prefix of one would not keep the other from }
			  . 'deleting it; name all prefixes in url_endpoint and url_aliases of one server, and drop the other', "$server: $why");
	}
	$imagekit->forget;
	$t->sql('DELETE FROM patches');
	stays { $t->files } '/cat.jpg', 'the file that a row uses under the other prefix stays', 2;
	is(scalar $imagekit->journal, 0, 'nothing is asked');
	$t->sql("SET client_min_messages = error; DROP SERVER second CASCADE; ALTER SERVER acme OPTIONS (ADD url_aliases '$prefix')");
	eventually { $t->pending } 0, 'with both prefixes it is settled', 30;
	is($t->sql('SELECT outcome FROM imagekit.history ORDER BY id DESC LIMIT 1'), 'kept', 'as kept');
	$t->sql("ALTER SERVER acme OPTIONS (DROP url_aliases); SET session_replication_role = replica; DELETE FROM modules;");
	$t->sql("INSERT INTO patches VALUES (1, '{$ENDPOINT/cat.jpg}')");
}

# Others are two libraries, whatever their paths.
$t->sql(qq{CREATE SERVER second FOREIGN DATA WRAPPER imagekit OPTIONS (url_endpoint 'https://ik.imagekit.io/other', api_url '$api');
	CREATE USER MAPPING FOR PUBLIC SERVER second OPTIONS (private_key 'private_other')});
is($t->sql('SELECT count(*) FROM imagekit.status WHERE cause IS NOT NULL'), '0', 'another key, another identifier: another library');

done_testing();
