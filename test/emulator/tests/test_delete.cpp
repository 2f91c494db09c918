// Deleting one file, a version, many files; details and versions; purge; usage; paths.
#include "fixture.h"

namespace ikemu {

class Delete : public EmulatorTest {
  protected:
    Reply bulk(const std::vector<std::string> &ids) {
        Json::Value body(Json::objectValue);
        body["fileIds"] = Json::Value(Json::arrayValue);
        for (const std::string &id : ids)
            body["fileIds"].append(id);
        return send("POST", "/v1/files/batch/deleteByFileIds", compact_json(body));
    }
};

TEST_F(Delete, OnceThenNotFound) {
    const auto ids = seed(R"(["/a.jpg"])");
    const Reply done = send("DELETE", "/v1/files/" + ids[0]);
    EXPECT_EQ(done.status, 204);
    EXPECT_EQ(done.body, "");
    const Reply again = send("DELETE", "/v1/files/" + ids[0]);
    EXPECT_EQ(again.status, 404);
    EXPECT_EQ(message(again), "The requested file does not exist.");
    EXPECT_EQ(send("GET", "/v1/files/" + ids[0] + "/details").status, 404);
    EXPECT_EQ(count(), 0);
}

TEST_F(Delete, AMalformedIdIsRefusedAndAnEmptyOneIsNotTheApi) {
    for (const char *id : {"abc", "0123456789abcdef0123456g", "0123456789abcdef012345678", "cat_B1iTdD0C.jpg"}) {
        const Reply reply = send("DELETE", std::string("/v1/files/") + id);
        EXPECT_EQ(reply.status, 400);
        EXPECT_EQ(message(reply), "Your request contains invalid fileId parameter.");
    }
    for (const char *path : {"/v1/files/", "/v1/files", "/v1/files/a/b"}) {
        const Reply reply = send("DELETE", path);
        EXPECT_EQ(reply.status, 403);
        EXPECT_EQ(reply.content_type.find("text/html"), 0u);
        EXPECT_NE(reply.body.find("csrf"), std::string::npos);
    }
    EXPECT_EQ(send("DELETE", "/v1/files/a%2Fb").status, 400) << "an encoded slash stays within the segment";
}

TEST_F(Delete, ForeignPathsAreHtml) {
    for (const char *path : {"/", "/v2/files", "/v1/nothing", "/v1"}) {
        const Reply reply = send("GET", path);
        EXPECT_EQ(reply.status, 404);
        EXPECT_EQ(reply.content_type.find("text/html"), 0u);
        for (const auto &[name, value] : reply.headers)
            EXPECT_NE(name, "x-ik-requestid");
    }
}

TEST_F(Delete, BulkDeletesAll) {
    const auto ids = seed(R"(["/a.jpg","/b.jpg","/c.jpg"])");
    const Reply reply = bulk({ids[0], ids[1], ids[0]});
    EXPECT_EQ(reply.status, 200);
    EXPECT_EQ(reply.body, "{\"successfullyDeletedFileIds\":[\"" + ids[0] + "\",\"" + ids[1] + "\"]}");
    EXPECT_EQ(count(), 1);
}

TEST_F(Delete, BulkWithAMissingIdDeletesNothing) {
    const auto ids = seed(R"(["/a.jpg","/b.jpg"])");
    const Reply reply = bulk({ids[0], unknown, ids[1]});
    EXPECT_EQ(reply.status, 404);
    EXPECT_EQ(message(reply), "The requested file(s) does not exist.");
    ASSERT_EQ(from_json(reply.body)["missingFileIds"].size(), 1u);
    EXPECT_EQ(from_json(reply.body)["missingFileIds"][0], unknown);
    EXPECT_EQ(count(), 2);
    turn(R"({"bulk_404":"deletes_found"})");
    EXPECT_EQ(bulk({ids[0], unknown}).status, 404);
    EXPECT_EQ(count(), 1);
}

TEST_F(Delete, BulkRefusals) {
    const auto refusal = [&](const std::string &body) {
        const Reply reply = send("POST", "/v1/files/batch/deleteByFileIds", body);
        EXPECT_EQ(reply.status, 400) << body;
        return message(reply);
    };
    EXPECT_EQ(refusal("{}"), "fileIds parameter is missing.");
    EXPECT_EQ(refusal(R"({"fileIds":"x"})"), "fileIds should be an Array.");
    EXPECT_EQ(refusal(R"({"fileIds":[]})"), "fileIds is empty.");
    refusal("not json");
    refusal("");
    refusal(R"({"fileIds":["a.jpg"]})");
    refusal("{\"fileIds\":[\"" + unknown + "\"]} trailing");
    const std::vector<std::string> many(101, unknown), fewer(100, unknown);
    EXPECT_EQ(message(bulk(many)), "fileIds cannot have more than 100 items.");
    EXPECT_EQ(bulk(fewer).status, 404);
    turn(R"({"bulk_limit":50})");
    EXPECT_EQ(message(bulk(fewer)), "fileIds cannot have more than 50 items.");
}

TEST_F(Delete, Bulk207ForChosenFiles) {
    const auto ids = seed(R"(["/a.jpg","/b.jpg","/c.jpg"])");
    turn("{\"bulk_207_ids\":[\"" + ids[1] + "\",\"/c.jpg\"]}");
    const Reply reply = bulk(ids);
    EXPECT_EQ(reply.status, 207);
    const Json::Value body = from_json(reply.body);
    EXPECT_EQ(body["successfullyDeletedFileIds"].size(), 1u);
    EXPECT_EQ(body["errors"].size(), 2u);
    EXPECT_EQ(body["errors"][0]["fileId"], ids[1]);
    EXPECT_EQ(body["errors"][0]["error"], "Error in deleting tags");
    EXPECT_EQ(count(), 2);
}

TEST_F(Delete, BulkMayOmitAnId) {
    auto ids = seed(R"(["/a.jpg","/b.jpg"])");
    turn(R"({"bulk_omit":"on"})");
    Reply reply = bulk(ids);
    EXPECT_EQ(reply.status, 200);
    EXPECT_EQ(from_json(reply.body)["successfullyDeletedFileIds"].size(), 1u);
    EXPECT_EQ(count(), 1);
    ids = seed(R"(["/c.jpg","/d.jpg"])");
    turn(R"({"bulk_omit":"on_deleted"})");
    reply = bulk(ids);
    EXPECT_EQ(from_json(reply.body)["successfullyDeletedFileIds"].size(), 1u);
    EXPECT_EQ(count(), 1) << "only the survivor of the first call";
}

TEST_F(Delete, VersionsShareTheFileAndGoWithIt) {
    const auto first = seed(R"([{"filePath":"/a.jpg","size":1}])");
    const auto second = seed(R"([{"filePath":"/a.jpg","size":2}])");
    EXPECT_EQ(first[0], second[0]);
    EXPECT_EQ(count(), 1);
    const std::string base = "/v1/files/" + first[0] + "/versions";
    const Json::Value versions = from_json(send("GET", base).body);
    ASSERT_EQ(versions.size(), 2u);
    EXPECT_EQ(versions[0]["type"], "file");
    EXPECT_EQ(versions[0]["size"], 2);
    EXPECT_EQ(versions[0]["versionInfo"]["name"], "Version 2");
    EXPECT_EQ(versions[1]["type"], "file-version");
    EXPECT_EQ(versions[1]["size"], 1);
    EXPECT_EQ(versions[1]["fileId"], first[0]);
    EXPECT_NE(versions[1]["url"].asString().find("ik-obj-version="), std::string::npos);

    const std::string old = versions[1]["versionInfo"]["id"].asString();
    turn(R"({"version_file_id":"different"})");
    EXPECT_EQ(from_json(send("GET", base + "/" + old).body)["fileId"], old);
    EXPECT_EQ(send("GET", base + "/" + unknown).status, 404);
    EXPECT_EQ(message(send("DELETE", base + "/" + versions[0]["versionInfo"]["id"].asString())),
              "You cannot delete current version of a file.");
    EXPECT_EQ(message(send("DELETE", base + "/" + unknown)), "The requested asset does not exist.");
    EXPECT_EQ(send("DELETE", base + "/x").status, 400);
    EXPECT_EQ(send("DELETE", base + "/" + old).status, 204);
    EXPECT_EQ(from_json(send("GET", base).body).size(), 1u);
    EXPECT_EQ(send("DELETE", "/v1/files/" + first[0]).status, 204);
    EXPECT_EQ(send("GET", base).status, 404);
}

TEST_F(Delete, FolderWithEverythingBelow) {
    seed(R"(["/a/1.jpg","/a/b/2.jpg","/c.jpg"])");
    turn(R"({"index_delay_deleted_ms":60000})");
    EXPECT_EQ(send("DELETE", "/v1/folder", R"({"folderPath":"/a"})").status, 204);
    EXPECT_EQ(listed(""), "/c.jpg");
    const Reply again = send("DELETE", "/v1/folder/", R"({"folderPath":"/a"})");
    EXPECT_EQ(again.status, 404);
    EXPECT_EQ(from_json(again.body)["reason"], "FOLDER_NOT_FOUND");
    EXPECT_EQ(send("DELETE", "/v1/folder", R"({"folderPath":"/"})").status, 404);
    EXPECT_EQ(count(), 1);
}

TEST_F(Delete, ManyDeletionsLeaveTheLibraryWhole) {
    control("POST", "seed_many", R"({"count":60000,"folders":3,"prefix":"/p"})");
    listed("limit=1");
    for (int round = 0; round < 500; ++round) {
        std::vector<std::string> ids;
        for (const Json::Value &file : from_json(send("GET", "/v1/files?limit=100").body))
            ids.push_back(file["fileId"].asString());
        ASSERT_EQ(bulk(ids).status, 200);
    }
    EXPECT_EQ(count(), 10000);
    EXPECT_EQ(listed("limit=1"), "/p/d0002/f0050000.jpg");
    EXPECT_EQ(found(R"(name = "f0059999.jpg")"), "/p/d0002/f0059999.jpg");
}

TEST_F(Delete, RenameAndMoveKeepTheId) {
    const auto ids = seed(R"(["/a/1.jpg","/a/2.jpg","/b/3.jpg"])");
    EXPECT_EQ(send("PUT", "/v1/files/rename", R"({"filePath":"/a/1.jpg","newFileName":"2.jpg"})").status, 409);
    EXPECT_EQ(send("PUT", "/v1/files/rename", R"({"filePath":"/a/1.jpg","newFileName":"9.jpg"})").status, 200);
    EXPECT_EQ(send("PUT", "/v1/files/rename", R"({"filePath":"/a/1.jpg","newFileName":"8.jpg"})").status, 404);
    EXPECT_EQ(send("POST", "/v1/files/move", R"({"sourceFilePath":"/a/9.jpg","destinationPath":"/b"})").status, 204);
    EXPECT_EQ(from_json(send("GET", "/v1/files/" + ids[0] + "/details").body)["filePath"], "/b/9.jpg");
    EXPECT_EQ(found(R"(name = "1.jpg")"), "");
    EXPECT_EQ(found(R"(name = "9.jpg" AND path = "/b/")"), "/b/9.jpg");
    EXPECT_EQ(listed("sort=ASC_NAME"), "/a/2.jpg /b/3.jpg /b/9.jpg");
}

TEST_F(Delete, PurgeTakesUrlsOfTheAccountAndCountsThem) {
    control("POST", "accounts", R"({"account":"acme","domains":["img.acme.example"],
        "url_endpoints":[{"id":"default","urlPrefix":""},{"id":"ep","urlPrefix":"shop"}]})");
    const auto purge = [&](const std::string &url) {
        return send("POST", "/v1/files/purge", "{\"url\":\"" + url + "\"}").status;
    };
    const std::string base = "https://ik.imagekit.io/acme";
    for (const char *rest : {"/a.jpg", "/a.jpg*", "/a/b*", "/fifteen-letters*", "/tr:w-3/a.jpg", "/shop/a.jpg*"})
        EXPECT_EQ(purge(base + rest), 201) << rest;
    EXPECT_EQ(purge("https://IMG.acme.example/a.jpg"), 201);
    for (const char *rest : {"/folder/*", "/*", "/a*b.jpg", "/media/catalog/*", "/s/files/*", "/abc*", "/shop/abc*",
                             "/folder/a*b.jpg"})
        EXPECT_EQ(purge(base + rest), 400) << rest;
    EXPECT_EQ(purge("https://ik.imagekit.io/other/a.jpg"), 400);
    EXPECT_EQ(purge("a.jpg"), 400);
    EXPECT_EQ(send("POST", "/v1/files/purge", "{}").status, 400);
    EXPECT_EQ(control("GET", "purges").size(), 7u);
    turn(R"({"purge_quota_limit":8,"purge_status":200})");
    EXPECT_EQ(purge(base + "/a.jpg"), 200);
    EXPECT_EQ(purge(base + "/a.jpg"), 429);
    turn(R"({"purge_quota":"403"})");
    EXPECT_EQ(purge(base + "/a.jpg"), 403);
    turn(R"({"purge_quota":"unlimited"})");
    EXPECT_EQ(purge(base + "/a.jpg"), 200);
    EXPECT_EQ(send("GET", "/v1/files/purge/" + unknown).status, 400);
}

TEST_F(Delete, UsageChecksItsDates) {
    const auto status = [&](const std::string &dates) { return send("GET", "/v1/accounts/usage?" + dates).status; };
    EXPECT_EQ(status("startDate=2025-03-01&endDate=2025-04-01"), 200);
    EXPECT_EQ(status(""), 400);
    EXPECT_EQ(status("startDate=2025-03-01&endDate=2025-06-01"), 400);
    EXPECT_EQ(status("startDate=2025-03-02&endDate=2025-03-01"), 400);
    EXPECT_EQ(status("startDate=1.3.2025&endDate=2025-03-04"), 400);
}

TEST_F(Delete, MetadataByUrl) {
    seed(R"(["/a b.jpg"])");
    const auto status = [&](const std::string &url) {
        return send("GET", "/v1/metadata?url=" + percent_encode(url)).status;
    };
    EXPECT_EQ(status("https://ik.imagekit.io/acme/a%20b.jpg?tr=w-1"), 200);
    EXPECT_EQ(status("https://ik.imagekit.io/acme/none.jpg"), 404);
    EXPECT_EQ(status("https://else.example/a.jpg"), 400);
}

}  // namespace ikemu
