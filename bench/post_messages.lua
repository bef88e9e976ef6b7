-- wrk: one short message a request, over the default rooms.
local rooms = { "general", "welcome", "builders" }
local n = 0
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer " .. os.getenv("TOKEN")
request = function()
    n = n + 1
    return wrk.format(nil, "/api/city/rooms/" .. rooms[n % #rooms + 1] .. "/messages", nil,
        '{"body":"Привіт місто, це повідомлення номер ' .. n .. '"}')
end
done = function(summary, latency, requests)
    local e = summary.errors
    io.write(string.format("acknowledged %d in %.2f s, refused %d, p99 %.1f ms\n",
        summary.requests - e.status, summary.duration / 1e6, e.status + e.read + e.write + e.timeout,
        latency:percentile(99) / 1000))
end
