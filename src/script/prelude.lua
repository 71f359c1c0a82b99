-- What stands between a script and the interpreter: the globals that it sees, and who calls it.
--
-- Lua 5.1 has no read-only tables. A script gets empty tables ("faces") in place of the real ones:
-- reading goes on to the real table, writing raises Redis' error. Whatever could reach around that
-- (rawset, next, setmetatable, table.insert ...) is replaced here or in Rust and knows the faces.
-- Nothing below reads a global, so that no environment can change what it does.
--
-- Errors of functions in Rust arrive as userdata. Who catches errors here turns them into what Lua
-- expects (`caught`), so that no script ever sees one; once the script has to end, `caught` raises.

local native = ...

local boot = getfenv(1)
local assert, c_collectgarbage, error, c_getfenv = assert, collectgarbage, error, getfenv
local c_getmetatable, c_load, c_loadstring, c_next = getmetatable, load, loadstring, next
local c_pcall, rawequal, c_rawget, c_rawset, select = pcall, rawequal, rawget, rawset, select
local c_setfenv, c_setmetatable, tonumber, tostring = setfenv, setmetatable, tonumber, tostring
local type, c_xpcall = type, xpcall
local c_create, c_resume = coroutine.create, coroutine.resume
local c_insert, c_sort, c_getn = table.insert, table.sort, table.getn
local c_byte = string.byte
local caught_value, caught = native.caught_value, native.caught

local READONLY = "Attempt to modify a readonly table"

-- Faces: the real table of each, and the metatable that a script is shown.
local real_of, shown_of = {}, {}

local function refuse()
  error(READONLY, 2)
end

local function face(real, shown)
  local new = {}
  real_of[new] = real
  shown_of[new] = shown
  return c_setmetatable(new, { __index = real, __newindex = refuse })
end

local function missing(_, name)
  if type(name) ~= "string" and type(name) ~= "number" then
    error("Second argument to luaProtectedTableError must be a string or number", 2)
  end
  error("Script attempted to access nonexistent global variable '" .. name .. "'", 2)
end

-- A table whose absent fields are an error, as the globals are.
local function strict(real)
  return c_setmetatable(real, { __index = missing })
end
local STRICT_SHOWN = face({ __index = missing })

-- The environments: of EVAL, of functions, and of a library while it is loaded. The last two are
-- one face, because the functions of a library keep the environment that they were made in.
local eval_real, function_real, load_real = {}, {}, {}
local eval_face = face(eval_real, STRICT_SHOWN)
local function_face = {}
local function_globals = face(strict(function_real), STRICT_SHOWN)
local function_switch = { __index = function_real, __newindex = refuse }
real_of[function_face] = function_real
shown_of[function_face] = face({ __index = function_globals })
c_setmetatable(function_face, function_switch)
strict(eval_real)
strict(load_real)
local environment = eval_face

-- From here on nothing knows the first globals any more.
c_setfenv(1, eval_face)
c_setfenv(0, eval_face)

local ours = {}
local function own(name, new)
  ours[new] = true
  eval_real[name] = new
  function_real[name] = new
end

local function expected(argument, name, what, got)
  error("bad argument #" .. argument .. " to '" .. name .. "' (" .. what .. " expected, got "
    .. got .. ")", 3)
end

-- The type of the first of the rest of the arguments, as Lua names it in errors.
local function got(...)
  if select("#", ...) == 0 then
    return "no value"
  end
  return type((...))
end

for _, name in c_next, { "tostring", "assert", "tonumber", "rawequal", "type", "select", "unpack",
  "ipairs", "_VERSION", "error", "gcinfo" } do
  eval_real[name] = boot[name]
  function_real[name] = boot[name]
end

-- Tables.

local function next_(t, key)
  local real = real_of[t]
  if real then
    t = real
  elseif type(t) ~= "table" then
    expected(1, "next", "table", type(t))
  end
  return c_next(t, key)
end
own("next", next_)

own("pairs", function(...)
  local t = ...
  if type(t) ~= "table" then
    expected(1, "pairs", "table", got(...))
  end
  if real_of[t] then
    return next_, t, nil
  end
  return c_next, t, nil
end)

own("rawget", function(...)
  local t, key = ...
  if type(t) ~= "table" then
    expected(1, "rawget", "table", got(...))
  elseif select("#", ...) < 2 then
    error("bad argument #2 to 'rawget' (value expected)", 2)
  end
  return c_rawget(real_of[t] or t, key)
end)

own("rawset", function(...)
  local t, key, value = ...
  if type(t) ~= "table" then
    expected(1, "rawset", "table", got(...))
  elseif select("#", ...) < 3 then
    error("bad argument #" .. (select("#", ...) + 1) .. " to 'rawset' (value expected)", 2)
  elseif real_of[t] then
    error(READONLY, 0)
  elseif key == nil then
    error("table index is nil", 0)
  elseif key ~= key then
    error("table index is NaN", 0)
  end
  return c_rawset(t, key, value)
end)

own("getmetatable", function(...)
  if select("#", ...) == 0 then
    error("bad argument #1 to 'getmetatable' (value expected)", 2)
  end
  local value = ...
  if real_of[value] then
    return shown_of[value]
  end
  return c_getmetatable(value)
end)

own("setmetatable", function(...)
  local t, meta = ...
  if type(t) ~= "table" then
    expected(1, "setmetatable", "table", got(...))
  elseif type(meta) ~= "table" and (meta ~= nil or select("#", ...) < 2) then
    error("bad argument #2 to 'setmetatable' (nil or table expected)", 2)
  elseif real_of[t] then
    error(READONLY, 0)
  end
  if c_getmetatable(t) ~= nil and not c_pcall(c_setmetatable, t, meta) then
    error("cannot change a protected metatable", 2)
  end
  return c_setmetatable(t, meta)
end)

-- Errors.

local function after_pcall(ok, ...)
  if ok then
    return true, ...
  end
  -- As Redis' pcall: of an error table only the text.
  local failure = caught((...))
  if type(failure) == "table" then
    local text = failure.err
    if type(text) == "string" or type(text) == "number" then
      failure = text
    end
  end
  return false, failure
end

local function pcall_(...)
  if select("#", ...) == 0 then
    error("bad argument #1 to 'pcall' (value expected)", 2)
  end
  return after_pcall(c_pcall(...))
end
own("pcall", pcall_)

local function after_caught(ok, ...)
  if ok then
    return true, ...
  end
  return false, caught((...))
end

own("xpcall", function(...)
  if select("#", ...) < 2 then
    error("bad argument #2 to 'xpcall' (value expected)", 2)
  end
  local call, handler = ...
  return after_caught(c_xpcall(call, function(failure)
    local value, is_over = caught_value(failure)
    if is_over then
      return failure
    end
    return handler(value)
  end))
end)

-- Coroutines.

local coroutine_ = {}
for name, value in c_next, boot.coroutine do
  coroutine_[name] = value
end

coroutine_.resume = function(...)
  if type((...)) ~= "thread" then
    error("bad argument #1 to 'resume' (coroutine expected)", 2)
  end
  return after_caught(c_resume(...))
end

local function after_wrapped(ok, ...)
  if ok then
    return ...
  end
  local failure = caught((...))
  if type(failure) == "string" or type(failure) == "number" then
    error(failure, 3)
  end
  error(failure, 0)
end

coroutine_.wrap = function(body)
  if type(body) ~= "function" or native.is_native(body) then
    error("bad argument #1 to 'wrap' (Lua function expected)", 2)
  end
  local thread = c_create(body)
  return function(...)
    return after_wrapped(c_resume(thread, ...))
  end
end

-- Environments and code.

own("getfenv", function(f)
  if f == nil then
    f = 1
  end
  if type(f) ~= "function" then
    local level = tonumber(f)
    if not level then
      expected(1, "getfenv", "number", type(f))
    elseif level < 0 then
      error("bad argument #1 to 'getfenv' (level must be non-negative)", 2)
    elseif level < 1 then
      return environment
    end
    f = native.function_at(level + 1)
    if f == nil then
      error("bad argument #1 to 'getfenv' (invalid level)", 2)
    elseif f == false then
      return environment
    end
  end
  local found = c_getfenv(f)
  if ours[f] or found == eval_face then
    return environment
  end
  return found
end)

own("setfenv", function(...)
  local f, env = ...
  if type(env) ~= "table" then
    expected(2, "setfenv", "table", got(select(2, ...)))
  end
  if type(f) ~= "function" then
    local level = tonumber(f)
    if not level then
      expected(1, "setfenv", "number", type(f))
    elseif level < 0 then
      error("bad argument #1 to 'setfenv' (level must be non-negative)", 2)
    elseif level < 1 then
      error("'setfenv' cannot change environment of given object", 2)
    end
    f = native.function_at(level + 1)
    if f == nil then
      error("bad argument #1 to 'setfenv' (invalid level)", 2)
    end
  end
  if not f or ours[f] or native.is_native(f) then
    error("'setfenv' cannot change environment of given object", 2)
  end
  native.environment_changed()
  return c_setfenv(f, env)
end)

-- Code that was compiled elsewhere can do anything to the interpreter. Behind a blank the compiler
-- takes it for text.
local function as_text(piece)
  if c_byte(piece) == 27 then
    return " " .. piece
  end
  return piece
end

local function compiled(new, failure)
  if not new then
    return nil, caught(failure)
  end
  return c_setfenv(new, environment)
end

own("loadstring", function(...)
  local text, name = ...
  if type(text) ~= "string" and type(text) ~= "number" then
    expected(1, "loadstring", "string", got(...))
  elseif name == nil then
    name = text
  elseif type(name) ~= "string" and type(name) ~= "number" then
    expected(2, "loadstring", "string", type(name))
  end
  return compiled(c_loadstring(as_text(tostring(text)), name))
end)

own("load", function(...)
  local pieces, name = ...
  if type(pieces) ~= "function" then
    expected(1, "load", "function", got(...))
  elseif name ~= nil and type(name) ~= "string" and type(name) ~= "number" then
    expected(2, "load", "string", type(name))
  end
  local is_first = true
  return compiled(c_load(function()
    local piece = pieces()
    if is_first and type(piece) == "string" then
      is_first = false
      piece = as_text(piece)
    end
    return piece
  end, name or "=(load)"))
end)

-- What would hold beyond the run is accepted and does nothing.
local GC_OPTIONS = { collect = true, count = true, step = true, stop = false, restart = false,
  setpause = false, setstepmul = false }
own("collectgarbage", function(option, number)
  option = option or "collect"
  if GC_OPTIONS[option] == nil then
    if type(option) ~= "string" then
      expected(1, "collectgarbage", "string", type(option))
    end
    error("bad argument #1 to 'collectgarbage' (invalid option '" .. option .. "')", 2)
  elseif GC_OPTIONS[option] then
    return c_collectgarbage(option, tonumber(number))
  end
  return 0
end)

-- table: what takes longer than its arguments let expect, done where it can be interrupted.

local table_ = {}
for name, value in c_next, boot.table do
  table_[name] = value
end

table_.insert = function(t, ...)
  local count = select("#", ...)
  if real_of[t] then
    error(READONLY, 0)
  elseif type(t) ~= "table" then
    error("bad argument #1 to 'insert' (table expected, got "
      .. (t == nil and count == 0 and "no value" or type(t)) .. ")", 2)
  end
  if count == 1 then
    return c_insert(t, (...))
  elseif count ~= 2 then
    error("wrong number of arguments to 'insert'", 2)
  end
  local position, value = ...
  position = tonumber(position)
  if not position then
    error("bad argument #2 to 'insert' (number expected, got " .. type((...)) .. ")", 2)
  elseif position >= 1 then
    return c_insert(t, position, value)
  end
  position = native.integer(position)
  for index = c_getn(t) + 1, position + 1, -1 do
    c_rawset(t, index, c_rawget(t, index - 1))
  end
  c_rawset(t, position, value)
end

-- `a < b` where the types differ or have metatables: Lua's own sort compares, so that the errors
-- are its own.
local function less(a, b)
  local kind = type(a)
  if kind == type(b) and (kind == "number" or kind == "string") then
    return a < b
  end
  local pair = { b, a }
  c_sort(pair)
  return rawequal(pair[1], a) and not rawequal(a, b)
end

-- Quicksort, with the comparisons in the order of Lua's. True: the order function contradicts
-- itself.
local function sort_range(t, first, last, less)
  while first < last do
    if less(t[last], t[first]) then
      t[first], t[last] = t[last], t[first]
    end
    if last - first == 1 then
      return
    end
    local i = first + (last - first - (last - first) % 2) / 2
    if less(t[i], t[first]) then
      t[i], t[first] = t[first], t[i]
    elseif less(t[last], t[i]) then
      t[i], t[last] = t[last], t[i]
    end
    if last - first == 2 then
      return
    end
    local pivot = t[i]
    t[i], t[last - 1] = t[last - 1], pivot
    i = first
    local j = last - 1
    while true do
      i = i + 1
      while less(t[i], pivot) do
        if i > last then
          return true
        end
        i = i + 1
      end
      j = j - 1
      while less(pivot, t[j]) do
        if j < first then
          return true
        end
        j = j - 1
      end
      if j < i then
        break
      end
      t[i], t[j] = t[j], t[i]
    end
    t[last - 1], t[i] = t[i], t[last - 1]
    if i - first < last - i then
      j, i, first = first, i - 1, i + 1
    else
      j, i, last = i + 1, last, i - 1
    end
    if sort_range(t, j, i, less) then
      return true
    end
  end
end

table_.sort = function(...)
  local t, order = ...
  if type(t) ~= "table" then
    expected(1, "sort", "table", got(...))
  elseif order ~= nil and type(order) ~= "function" then
    expected(2, "sort", "function", type(order))
  end
  local count = c_getn(t)
  local has_failed
  if c_getmetatable(t) == nil then
    has_failed = sort_range(t, 1, count, order or less)
  else
    local copy = {}
    for index = 1, count do
      copy[index] = c_rawget(t, index)
    end
    has_failed = sort_range(copy, 1, count, order or less)
    if not real_of[t] then
      for index = 1, count do
        c_rawset(t, index, copy[index])
      end
    end
  end
  if has_failed then
    error("invalid order function for sorting", 2)
  end
end

-- Libraries.

local function library(name, real)
  for _, value in c_next, real do
    if type(value) == "function" then
      ours[value] = true
    end
  end
  local new = face(real)
  eval_real[name] = new
  function_real[name] = new
  return new
end

local function with(real, replaced)
  for name, value in c_next, replaced do
    real[name] = value
  end
  return real
end

local string_ = with(boot.string, native.string)
local string_face = library("string", string_)
-- Read only as well: what one script put there, the next one would call.
local string_meta = c_getmetatable("")
string_meta.__index = string_
string_meta.__metatable = face({ __index = string_face })

library("table", table_)
library("coroutine", coroutine_)
library("math", with(boot.math, native.math))
for name, real in c_next, native.libraries do
  library(name, real)
end

local function redis_table(names)
  local new = {}
  for _, name in c_next, names do
    new[name] = native.redis[name]
  end
  return new
end
local SHARED = { "log", "LOG_DEBUG", "LOG_VERBOSE", "LOG_NOTICE", "LOG_WARNING", "REDIS_VERSION",
  "REDIS_VERSION_NUM" }
local CALLING = { "call", "pcall", "setresp", "sha1hex", "error_reply", "status_reply", "set_repl",
  "REPL_NONE", "REPL_AOF", "REPL_SLAVE", "REPL_REPLICA", "REPL_ALL", "acl_check_cmd" }
local EVALUATING = { "breakpoint", "debug", "replicate_commands" }
eval_real.redis = face(with(with(redis_table(SHARED), redis_table(CALLING)),
  redis_table(EVALUATING)))
function_real.redis = face(with(redis_table(SHARED), redis_table(CALLING)))
load_real.redis = face(strict(with(redis_table(SHARED), redis_table({ "register_function" }))),
  STRICT_SHOWN)
eval_real._G = eval_face
function_real._G = function_globals

-- Who calls the scripts.

-- Notes where it happened, in Redis' form.
local function failed(failure)
  failure = caught_value(failure)
  local source, line = native.raised_at()
  if type(failure) ~= "table" then
    failure = { err = "ERR " .. tostring(failure) }
  end
  if source then
    failure.source = source
    failure.line = line
  end
  return failure
end
eval_real.__redis__err__handler = failed
ours[failed] = true

-- What a reply is made of; the numbers are those of `Kind` in Rust.
local FAILED, PLAIN, ARRAY, SPECIAL = 0, 1, 2, 3

local function table_kind(t)
  if c_getmetatable(t) == nil and not real_of[t] then
    if t.err == nil and t.ok == nil and t.double == nil and t.big_number == nil
      and t.verbatim_string == nil and t.map == nil and t.set == nil then
      return ARRAY
    end
    return SPECIAL
  end
  return SPECIAL
end

local function ended(ok, value)
  if not ok then
    return value, FAILED
  elseif type(value) ~= "table" then
    return value, PLAIN
  end
  return value, table_kind(value)
end

local called, called_keys, called_argv
local function call()
  return called(called_keys, called_argv)
end

return {
  run_script = function(script, keys, argv)
    environment = eval_face
    eval_real.KEYS = keys
    eval_real.ARGV = argv
    return ended(c_xpcall(script, failed))
  end,
  run_function = function(new, keys, argv)
    environment = function_face
    called, called_keys, called_argv = new, keys, argv
    return ended(c_xpcall(call, failed))
  end,
  load_library = function(body)
    environment = function_face
    c_setfenv(body, function_face)
    function_switch.__index = load_real
    local ok, failure = c_pcall(body)
    function_switch.__index = function_real
    if not ok then
      return caught_value(failure)
    end
  end,
  -- Lets go of what the last run was given.
  rest = function()
    eval_real.KEYS, eval_real.ARGV = nil, nil
    called, called_keys, called_argv = nil, nil, nil
  end,
  next = c_next,
  guarded = c_pcall,
}
