// GET /v1/files without a search: parameters, limits, sorting, paging, and what a search leaves of them.
#include <set>

#include "fixture.h"

namespace ikemu {

class List : public EmulatorTest {};

TEST_F(List, IsABareArrayOfFilesInOrderOfCreation) {
    EXPECT_EQ(send("GET", "/v1/files").body, "[]");
    seed(R"([{"filePath":"/b/2.jpg","createdAt":2000},{"filePath":"/1.jpg","createdAt":1000},"/b/3.jpg"])");
    EXPECT_EQ(listed(""), "/1.jpg /b/2.jpg /b/3.jpg");
    const Json::Value file = from_json(send("GET", "/v1/files/").body)[0];
    EXPECT_EQ(file["type"], "file");
    EXPECT_EQ(file["createdAt"], "1970-01-01T00:00:01.000Z");
    EXPECT_EQ(file["versionInfo"]["name"], "Version 1");
    EXPECT_EQ(file["url"], "https://ik.imagekit.io/acme/1.jpg?updatedAt=1000");
    EXPECT_EQ(file["fileId"].asString().size(), 24u);
    EXPECT_TRUE(file["tags"].isNull());
}

TEST_F(List, PathIsOneFolderWhateverItsSlashes) {
    seed(R"(["/a/1.jpg","/a/b/2.jpg","/3.jpg"])");
    for (const char *path : {"a", "/a", "a/", "/a/", "%2Fa%2F"})
        EXPECT_EQ(listed(std::string("path=") + path), "/a/1.jpg");
    EXPECT_EQ(listed("path=/"), "/3.jpg");
    EXPECT_EQ(listed("path=/none"), "");
    turn(R"({"missing_folder":"404"})");
    EXPECT_EQ(send("GET", "/v1/files?path=/none").status, 404);
    EXPECT_EQ(send("GET", "/v1/files?path=/a").status, 200);
}

TEST_F(List, PagesCoverEverythingOnce) {
    control("POST", "seed_many", R"({"count":2345,"folders":7,"prefix":"/p"})");
    for (const char *filter : {"", "&path=/p/d0003", "&fileType=image", "&sort=DESC_NAME", "&type=all"}) {
        std::set<std::string> seen;
        std::size_t pages = 0, got = 0, items = 0;
        do {
            const Json::Value page =
                from_json(send("GET", "/v1/files?limit=100&skip=" + std::to_string(items) + filter).body);
            got = page.size();
            items += got;
            ++pages;
            for (const Json::Value &item : page)
                EXPECT_TRUE(seen.insert(item[item["type"] == "folder" ? "folderPath" : "filePath"].asString()).second);
        } while (got == 100);
        const std::size_t expected = std::string(filter) == "&path=/p/d0003" ? 335u
                                     : std::string(filter) == "&type=all"    ? 2353u
                                                                             : 2345u;
        EXPECT_EQ(items, expected) << filter;
        EXPECT_EQ(pages, expected / 100 + 1) << filter;
    }
}

TEST_F(List, FilesSeededByTheThousandAreCreatedOneAfterTheOther) {
    control("POST", "seed_many", R"({"count":6,"folders":1,"prefix":"/p","createdAt":10000,"step_ms":400})");
    const Json::Value files = from_json(send("GET", "/v1/files?sort=ASC_CREATED").body);
    ASSERT_EQ(files.size(), 6u);
    EXPECT_EQ(files[0]["createdAt"], "1970-01-01T00:00:10.000Z");
    EXPECT_EQ(files[0]["updatedAt"], "1970-01-01T00:00:10.000Z");
    EXPECT_EQ(files[3]["createdAt"], "1970-01-01T00:00:11.200Z");
    EXPECT_EQ(files[5]["filePath"], "/p/f0000005.jpg");
    control("POST", "seed_many", R"({"count":100,"folders":1,"prefix":"/crowd","createdAt":20000,"step_ms":0.1})");
    EXPECT_EQ(from_json(send("GET", "/v1/files?limit=1&sort=DESC_CREATED").body)[0]["createdAt"], "1970-01-01T00:00:20.009Z");
    EXPECT_EQ(send("POST", "/_control/seed_many", R"({"count":2,"step_ms":5})", "").status, 400);
}

TEST_F(List, PagingAfterDeletionsSkipsNothingThatLives) {
    control("POST", "seed_many", R"({"count":30,"folders":1,"prefix":"/p"})");
    const Json::Value first = from_json(send("GET", "/v1/files?limit=10").body);
    for (const Json::Value &file : first)
        EXPECT_EQ(send("DELETE", "/v1/files/" + file["fileId"].asString()).status, 204);
    EXPECT_EQ(listed("limit=1"), "/p/f0000010.jpg");
    EXPECT_EQ(listed("limit=1&skip=19"), "/p/f0000029.jpg");
    EXPECT_EQ(listed("limit=1&skip=20"), "");
}

TEST_F(List, Sorts) {
    seed(R"([{"filePath":"/c.jpg","size":1,"width":3,"height":2,"createdAt":1,"updatedAt":9},
             {"filePath":"/a.jpg","size":3,"width":2,"height":1,"createdAt":2,"updatedAt":8},
             {"filePath":"/b.jpg","size":2,"width":1,"height":3,"createdAt":3,"updatedAt":7}])");
    EXPECT_EQ(listed("sort=ASC_NAME"), "/a.jpg /b.jpg /c.jpg");
    EXPECT_EQ(listed("sort=DESC_CREATED"), "/b.jpg /a.jpg /c.jpg");
    EXPECT_EQ(listed("sort=ASC_UPDATED"), "/b.jpg /a.jpg /c.jpg");
    EXPECT_EQ(listed("sort=DESC_SIZE"), "/a.jpg /b.jpg /c.jpg");
    EXPECT_EQ(listed("sort=ASC_WIDTH&path=/"), "/b.jpg /a.jpg /c.jpg");
    EXPECT_EQ(listed("sort=DESC_HEIGHT"), "/b.jpg /c.jpg /a.jpg");
}

TEST_F(List, RefusesBadParametersInTheDocumentedWords) {
    const auto refusal = [&](const std::string &parameters) {
        const Reply reply = send("GET", "/v1/files?" + parameters);
        EXPECT_EQ(reply.status, 400);
        return message(reply);
    };
    EXPECT_EQ(refusal("skip=-1"),
              "The value of skip parameter should be greater than or equal to 0. Value sent is -1.");
    EXPECT_EQ(refusal("limit=0"), "Minimum value of limit parameter is 1. Value sent is 0.");
    EXPECT_EQ(refusal("limit=2000"), "Maximum value of limit parameter is 1000. Value sent is 2000.");
    EXPECT_EQ(refusal("sort=ASC_DURATION"), "Your request contains invalid value for sort parameters.");
    EXPECT_EQ(refusal("type=image"), "Your request contains invalid value for type parameter. Please provide one of "
                                     "the following: file, file-version, folder, all.");
    refusal("fileType=video");
    refusal("limit=ten");
}

TEST_F(List, TypesAndLegacyParameters) {
    seed(R"(["/d/a.jpg","/d/a.jpg",{"filePath":"/b.pdf","tags":["x"]}])");
    EXPECT_EQ(listed("type=folder"), "/d");
    EXPECT_EQ(listed("type=file-version"), "/d/a.jpg");
    EXPECT_EQ(listed("type=all"), "/d /d/a.jpg /b.pdf");
    EXPECT_EQ(listed("includeFolder=true"), "/d /d/a.jpg /b.pdf");
    EXPECT_EQ(listed("fileType=image"), "/d/a.jpg");
    EXPECT_EQ(listed("fileType=non-image"), "/b.pdf");
    EXPECT_EQ(listed("tags=y,x"), "/b.pdf");
    EXPECT_EQ(listed("name=b.pdf"), "/b.pdf");
    turn(R"({"legacy_name":"ignored"})");
    EXPECT_EQ(listed("name=b.pdf"), "/d/a.jpg /b.pdf");
}

TEST_F(List, ASearchDisablesTypeNameAndTagsButNotPath) {
    seed(R"(["/d/x.jpg","/e/x.jpg"])");
    const std::string query = "&searchQuery=" + percent_encode(R"(name = "x.jpg")");
    EXPECT_EQ(listed("type=folder&name=none&tags=none" + query), "/d/x.jpg /e/x.jpg");
    EXPECT_EQ(listed("path=/e" + query), "/e/x.jpg");
    turn(R"({"search_path_parameter":"ignored"})");
    EXPECT_EQ(listed("path=/e" + query), "/d/x.jpg /e/x.jpg");
    const std::string folder = "&searchQuery=" + percent_encode(R"(name : "d")");
    EXPECT_EQ(listed("type=file" + folder), "/d") << "a search without a type term finds folders";
}

TEST_F(List, TheIndexLagsAsLongAsTheSwitchesSay) {
    const auto ids = seed(R"(["/old.jpg"])");
    turn(R"({"index_delay_new_ms":60000,"index_delay_deleted_ms":60000})");
    EXPECT_EQ(listed(""), "") << "not indexed yet";
    EXPECT_EQ(send("GET", "/v1/files/" + ids[0] + "/details").status, 200);
    turn(R"({"index_delay_new_ms":0})");
    EXPECT_EQ(send("DELETE", "/v1/files/" + ids[0]).status, 204);
    EXPECT_EQ(listed(""), "/old.jpg") << "a deleted file is still listed";
    EXPECT_EQ(found(R"(name = "old.jpg")"), "/old.jpg") << "and found by name";
    EXPECT_EQ(send("DELETE", "/v1/files/" + ids[0]).status, 404);
    turn(R"({"index_delay_deleted_ms":0})");
    EXPECT_EQ(listed(""), "");
}

TEST_F(List, UrlWithoutUpdatedAtWhenSwitched) {
    seed(R"(["/a b+c.jpg"])");
    turn(R"({"list_url":"plain"})");
    EXPECT_EQ(from_json(send("GET", "/v1/files").body)[0]["url"], "https://ik.imagekit.io/acme/a%20b%2Bc.jpg");
}

TEST_F(List, IndexesAndScanAgree) {
    control("POST", "seed_many", R"({"count":9000,"folders":2,"prefix":"/big"})");
    EXPECT_EQ(found(R"(type = "file" AND name IN ["f0000001.jpg","f0000002.jpg"] AND path = "/big/d0001/")"),
              "/big/d0001/f0000001.jpg");
    EXPECT_EQ(found(R"((name = "f0000001.jpg" OR name = "f0000002.jpg") AND path : "/big/")"),
              "/big/d0001/f0000001.jpg /big/d0000/f0000002.jpg");
    EXPECT_EQ(found(R"(name = "f0000001.jpg")"), "/big/d0001/f0000001.jpg");
    EXPECT_EQ(listed("path=/big/d0001&limit=2&skip=4498"), "/big/d0001/f0008997.jpg /big/d0001/f0008999.jpg");
}

}  // namespace ikemu
