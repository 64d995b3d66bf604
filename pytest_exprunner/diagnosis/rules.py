"""What is known of the failures that people who train models meet most: how they look, why, what to do.

A rule knows texts as libraries write them, and the kinds of exception that carry them. What a person's
own code raises has other words, and no rule may take it for one of these. Every pattern looks at a bounded
stretch, so that no text takes long.
"""

from __future__ import annotations

from dataclasses import dataclass

DOCUMENT = "docs/common-errors.md"


@dataclass(frozen=True, slots=True)
class Sign:
    """How an exception looks. Everything that is given has to hold; what is empty holds for any."""

    message: str = ""
    """A pattern that is found in its message; its named groups fill ``$name`` in cause, fix and snippet."""
    types: str = ""
    """Names of its class, with spaces between them."""
    place: str = ""
    """A pattern that is found in the path of the file that raised it."""
    code: str = ""
    """A pattern that is found in the line of code that raised it."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A failure that is known. Its id is also its anchor in the document of common errors."""

    id: str
    title: str
    examples: tuple[str, ...]
    """What one sees, as ``Type: message``; each of them shows one of the signs."""
    signs: tuple[Sign, ...]
    cause: str
    fix: str
    snippet: str

    @property
    def link(self) -> str:
        """Where the page of common errors has more."""
        return f"{DOCUMENT}#{self.id}"


_LIBRARIES = (
    r"(?:accelerate|anthropic|cv2|diffusers|gym|gymnasium|huggingface_hub|jax|keras|lightgbm|"
    r"lightning|matplotlib|networkx|numpy|openai|pandas|peft|PIL|pytorch_lightning|scipy|seaborn|skimage|"
    r"sklearn|tensorflow|timm|tokenizers|torch|torchaudio|torchmetrics|torchvision|transformers|trl|wandb|"
    r"xgboost)"
)
_INSTALLED = r"[/\\](?:site|dist)-packages[/\\]"
_ONLY_OUTPUTS = (
    r"last_hidden_state|pooler_output|encoder_last_hidden_state|past_key_values|logits_per_image|"
    r"logits_per_text|prediction_logits"
)
_OUTPUTS = (
    rf"(?:{_ONLY_OUTPUTS}|hidden_states|encoder_hidden_states|attentions|cross_attentions|image_embeds|"
    r"text_embeds|logits)"
)
_NUMPY_TYPES = (
    r"(?:float16|float32|float128|longdouble|u?int(?:8|16|32|64)|u?intc|bool_?|ndarray|complex64|complex128|"
    r"datetime64|timedelta64)"
)
_RENAMED = (
    r"(?:evaluation_strategy|eval_strategy|use_auth_token|processing_class|base_estimator|sparse_output|"
    r"size_average|torch_dtype|needs_proba|needs_threshold|progress_bar_refresh_rate|delim_whitespace|"
    r"line_terminator)"
)
_CLASSES = (
    r"(?:AdamW|TrainingArguments|OneHotEncoder|LogisticRegression|LinearRegression|RandomForestClassifier|"
    r"RandomForestRegressor|TSNE|KMeans|OpenAI|Anthropic)"
)
_OF_CLASSES = (
    r"(?:LR|ReduceLROnPlateau)\.__init__\(\) got an unexpected keyword argument 'verbose'|"
    r"Trainer\.__init__\(\) got an unexpected keyword argument "
    r"'(?:tokenizer|gpus|max_seq_length|dataset_text_field)'|"
    r"Client\.__init__\(\) got an unexpected keyword argument 'proxies'"
)
_SCALAR = "(?:Float|Double|Half|BFloat16|Long|Int|Short|Char|Byte|Bool|ComplexFloat|ComplexDouble)"
_HUB = r"(?:huggingface\.co|hf\.co|hf-mirror\.com|download\.pytorch\.org|raw\.githubusercontent\.com|openml\.org)"

RULES: tuple[Rule, ...] = (
    # --- tensors and arrays -----------------------------------------------------------------------
    Rule(
        id="grad-tensor-to-numpy",
        title="A tensor with a gradient is turned into a NumPy array",
        examples=(
            "RuntimeError: Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() "
            "instead.",
        ),
        signs=(Sign(r"Can't call numpy\(\) on (?:Tensor|Variable) that requires grad"),),
        cause="The tensor is still part of the graph that gradients are computed from; NumPy knows nothing "
        "of gradients.",
        fix="Take it out of the graph with .detach(), or compute it under torch.no_grad().",
        snippet="def values_of(output):\n    return output.detach().cpu().numpy()",
    ),
    Rule(
        id="cuda-tensor-to-numpy",
        title="A tensor on a GPU is turned into a NumPy array",
        examples=(
            "TypeError: can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the "
            "tensor to host memory first.",
        ),
        signs=(Sign(r"can't convert [\w:]{1,20} device type tensor to numpy"),),
        cause="The tensor is in the memory of a GPU, and NumPy reads the memory of the host.",
        fix="Copy it to the host with .cpu() first.",
        snippet="def values_of(output):\n    return output.detach().cpu().numpy()",
    ),
    Rule(
        id="numpy-in-json",
        title="A NumPy value or a tensor is written as JSON",
        examples=(
            "TypeError: Object of type float32 is not JSON serializable",
            "TypeError: Object of type bool_ is not JSON serializable",
            "TypeError: Object of type bool is not JSON serializable",
            "TypeError: Object of type ndarray is not JSON serializable",
            "TypeError: Object of type Tensor is not JSON serializable",
            "TypeError: keys must be str, int, float, bool or None, not numpy.int64",
            "TypeError: Type is not JSON serializable: numpy.float32",
        ),
        signs=(
            Sign(rf"Object of type (?:{_NUMPY_TYPES}|Tensor|Parameter) is not JSON serializable"),
            Sign(rf"keys must be str, int, float, bool or None, not (?:numpy\.)?{_NUMPY_TYPES}"),
            Sign(r"Type is not JSON serializable: (?:numpy\.\w|Tensor|torch\.Tensor)"),
        ),
        cause="JSON knows numbers, texts, lists and mappings; a NumPy scalar, an array or a tensor is none of "
        "them, even where it prints like one. NumPy 2 calls its own bool 'bool', NumPy 1 'bool_'.",
        fix="Convert it with float(), int(), bool() or .tolist(); or give the data to "
        "runner.results.save_json_artifact, which takes such values as they are.",
        snippet="def save(runner, accuracy, curve):\n"
        '    data = {"accuracy": accuracy, "curve": curve}\n'
        '    return runner.results.save_json_artifact("scores.json", data)',
    ),
    Rule(
        id="missing-model-output",
        title="A model's output has no such part",
        examples=(
            "KeyError: 'last_hidden_state'",
            "AttributeError: 'CausalLMOutputWithPast' object has no attribute 'last_hidden_state'",
            "AttributeError: 'tuple' object has no attribute 'logits'",
        ),
        signs=(
            Sign(rf"^'(?:{_ONLY_OUTPUTS})'", "KeyError"),
            Sign(rf"^'{_OUTPUTS}'", "KeyError", code=r"(?i)(?:out|outputs?|model\([^\n]{0,100}\)) ?\["),
            Sign(r"", "KeyError", place=r"transformers[/\\](?:utils[/\\]generic|modeling_outputs)\.py$"),
            Sign(
                r"'(?:\w{0,40}(?:ModelOutput|LMOutput|ClassifierOutput|AnsweringOutput)\w{0,40}|"
                r"QuestionAnsweringModelOutput|CLIPOutput|BatchEncoding)' object has no attribute",
                "AttributeError",
            ),
            Sign(rf"^'(?:tuple|Tensor|dict)' object has no attribute '{_OUTPUTS}'", "AttributeError"),
            Sign(
                r"'NoneType' object is not (?:subscriptable|iterable)",
                "TypeError",
                code=r"\.(?:hidden_states|attentions|cross_attentions|past_key_values)\b",
            ),
        ),
        cause="Models of different kinds return different parts: a language model has logits and no "
        "last_hidden_state, a plain encoder the other way round. Hidden states and attentions are there only "
        "where they were asked for.",
        fix="Print output.keys() to see what there is; ask for what is missing with "
        "output_hidden_states=True or output_attentions=True.",
        snippet="def last_layer(model, batch):\n"
        "    output = model(**batch, output_hidden_states=True)\n"
        "    return output.hidden_states[-1]",
    ),
    Rule(
        id="state-dict-mismatch",
        title="A checkpoint does not fit the model",
        examples=(
            'RuntimeError: Error(s) in loading state_dict for Linear: Missing key(s) in state_dict: "w"',
        ),
        signs=(Sign(r"Error\(s\) in loading state_dict for"),),
        cause="The checkpoint was written by a model of another shape, or its names have a prefix such as "
        "'module.' from DataParallel or '_orig_mod.' from torch.compile.",
        fix="Build the model with the configuration that the checkpoint was made with, and take such prefixes "
        "off the names.",
        snippet="def without_prefix(state):\n"
        '    return {name.removeprefix("module."): value for name, value in state.items()}',
    ),
    # --- devices, before shapes and dtypes: their messages are the more special ones -----------------
    Rule(
        id="device-side-assert",
        title="A check failed inside a GPU kernel",
        examples=(
            "RuntimeError: CUDA error: device-side assert triggered",
            "AcceleratorError: CUDA error: device-side assert triggered",
        ),
        signs=(
            Sign(r"device-side assert triggered"),
            Sign(r"CUDA error: an illegal memory access was encountered"),
        ),
        cause="An index was out of range on the GPU, most often a label that is not below the number of "
        "classes, or a token id that is not below the size of the vocabulary. GPUs report late, so the line "
        "shown is often not the one.",
        fix="Run the same batch on the CPU, which names the line; or set CUDA_LAUNCH_BLOCKING=1 before the "
        "run. After this error the process cannot use the GPU any more.",
        snippet="def check_labels(labels, classes):\n"
        "    low, high = int(labels.min()), int(labels.max())\n"
        '    assert 0 <= low and high < classes, f"labels {low}..{high}, but {classes} classes"',
    ),
    Rule(
        id="index-out-of-range",
        title="A label or a token id is out of range",
        examples=("IndexError: index out of range in self", "IndexError: Target 7 is out of bounds."),
        signs=(
            Sign(r"^index out of range in self", "IndexError"),
            Sign(r"^Target -?\d{1,20} is out of bounds", "IndexError"),
        ),
        cause="An embedding was asked for an id that is not below its size, or a loss for a class that is not "
        "below the number of outputs.",
        fix="Compare the largest id with the size of the layer; after adding tokens, call "
        "model.resize_token_embeddings(len(tokenizer)). Labels count from 0.",
        snippet="def check_ids(ids, embedding):\n"
        '    assert int(ids.max()) < embedding.num_embeddings, f"id {int(ids.max())}"',
    ),
    Rule(
        id="device-mismatch",
        title="Tensors are on different devices",
        examples=(
            "RuntimeError: Expected all tensors to be on the same device, but found at least two devices, "
            "cuda:0 and cpu!",
            "RuntimeError: Tensor on device cpu is not on the expected device cuda:0!",
            "RuntimeError: Input type (torch.FloatTensor) and weight type (torch.cuda.FloatTensor) should be "
            "the same",
            "RuntimeError: indices should be either on cpu or on the same device as the indexed tensor (cpu)",
        ),
        signs=(
            Sign(r"Expected all tensors to be on the same device"),
            Sign(r"Tensor on device [\w:]{1,20} is not on the expected device"),
            Sign(
                r"Input type \((?:torch\.cuda\.\w{1,30}\) and \w{1,10} type \(torch\.(?!cuda)|"
                r"torch\.(?!cuda)\w{1,30}\) and \w{1,10} type \(torch\.cuda)"
            ),
            Sign(r"indices should be either on .{0,40} or on the same device as the indexed tensor"),
        ),
        cause="One operand is on a GPU and another on the CPU: as a rule the batch or a tensor made in "
        "forward() was not moved with the model.",
        fix="Move model and batch to runner.device, and make new tensors on the device of one that is there.",
        snippet="def forward(runner, model, batch):\n"
        "    model.to(runner.device)\n"
        "    batch = {name: tensor.to(runner.device) for name, tensor in batch.items()}\n"
        "    return model(**batch)",
    ),
    Rule(
        id="no-gpu",
        title="A GPU is asked for where there is none",
        examples=(
            "RuntimeError: Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU",
            "AssertionError: Torch not compiled with CUDA enabled",
            "RuntimeError: Attempting to deserialize object on a CUDA device but torch.cuda.is_available() is "
            "False.",
        ),
        signs=(
            Sign(r"Found no NVIDIA driver on your system"),
            Sign(r"Torch not compiled with CUDA enabled"),
            Sign(r"Attempting to deserialize object on (?:a )?CUDA device"),
            Sign(r"No CUDA GPUs are available"),
        ),
        cause="The code names a CUDA device, and this machine, or this build of torch, has none.",
        fix="Use runner.device, which is the best that is there; load checkpoints with "
        "map_location=runner.device; or say resources: {gpu: 1} in the plan, so that it is not begun without.",
        snippet="def load(runner, model, path):\n"
        "    import torch\n\n"
        "    model.load_state_dict(torch.load(path, map_location=runner.device))\n"
        "    return model.to(runner.device)",
    ),
    # --- memory and disk ----------------------------------------------------------------------------
    Rule(
        id="gpu-out-of-memory",
        title="The GPU's memory is full",
        examples=(
            "OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of "
            "15.77 GiB of which 1.10 GiB is free.",
            "RuntimeError: CUDA error: out of memory",
        ),
        signs=(
            Sign(r"(?i)\b(?:CUDA|HIP|MPS|XPU|GPU)\b|Tried to allocate", "OutOfMemoryError"),
            Sign(r"(?:CUDA|HIP|MPS|XPU)(?: backend| error)?:? out of memory"),
            Sign(r"CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_ALLOC_FAILED"),
        ),
        cause="Weights, activations, gradients and what other processes hold do not fit together.",
        fix="Make the batch smaller and accumulate gradients; evaluate under torch.inference_mode(); keep "
        "loss.item() and not loss; use bfloat16 autocast. nvidia-smi shows who else is on the GPU.",
        snippet="def evaluate(model, batches):\n"
        "    import torch\n\n"
        '    with torch.inference_mode(), torch.autocast("cuda", dtype=torch.bfloat16):\n'
        "        return [model(batch).argmax(-1).cpu() for batch in batches]",
    ),
    Rule(
        id="shared-memory",
        title="Shared memory is full or out of reach",
        examples=(
            "RuntimeError: DataLoader worker (pid 4242) is killed by signal: Bus error. It is possible that "
            "dataloader's workers are out of shared memory. Please try to raise your shared memory limit.",
            "RuntimeError: unable to open shared memory object </torch_4242_1> in read-write mode: No such "
            "file or directory (2)",
            "ProcessLost: crashed: SIGBUS",
        ),
        signs=(
            Sign(r"is killed by signal: Bus error|workers are out of shared memory"),
            Sign(
                r"unable to (?:open|mmap|write|resize) (?:shared memory object|file) </torch_(?!.{0,80}Too many)"
            ),
            Sign(r"unable to allocate shared memory|could not unlink the shared memory file"),
            Sign(r"^crashed: SIGBUS", "ProcessLost"),
        ),
        cause="Workers of a DataLoader pass batches through /dev/shm, and it is full; containers have 64 MB of "
        "it by default.",
        fix="Start the container with --shm-size=8g or --ipc=host, use fewer workers, or none: with "
        "num_workers=0 nothing is passed.",
        snippet="def loader(data):\n"
        "    from torch.utils.data import DataLoader\n\n"
        "    return DataLoader(data, batch_size=32, num_workers=0)",
    ),
    Rule(
        id="too-many-open-files",
        title="Too many files are open",
        examples=(
            "OSError: [Errno 24] Too many open files: 'shard-1023.tar'",
            "RuntimeError: unable to open shared memory object </torch_4242_1> in read-write mode: Too many "
            "open files (24)",
            "RuntimeError: received 0 items of ancdata",
        ),
        signs=(Sign(r"Too many open files"), Sign(r"^received \d{1,9} items of ancdata")),
        cause="Every tensor that a DataLoader's worker sends holds a file open until it is gone, and so does "
        "every file that nobody closed.",
        fix="Raise the limit (ulimit -n 65536), do not keep tensors that workers sent, close files with "
        "'with', or have workers share through the file system.",
        snippet="def share_through_files():\n"
        "    import torch.multiprocessing\n\n"
        '    torch.multiprocessing.set_sharing_strategy("file_system")',
    ),
    Rule(
        id="dataloader-worker-died",
        title="A worker of a DataLoader died",
        examples=(
            "RuntimeError: DataLoader worker (pid 4242) is killed by signal: Killed.",
            "RuntimeError: DataLoader worker (pid(s) 4242) exited unexpectedly",
            "RuntimeError: DataLoader worker (pid 4242) exited unexpectedly with exit code 1. Details are lost "
            "due to multiprocessing. Rerunning with num_workers=0 may give better error trace.",
        ),
        signs=(Sign(r"DataLoader worker \(pid(?:\(s\))? [\d, ]{1,200}\) (?:is killed|exited)"),),
        cause="A process that loads data ended without an exception: killed for memory (each has a copy of "
        "the data set), or crashed in a C library.",
        fix="Run once with num_workers=0, which shows the error itself; then use fewer workers, or keep the "
        "data in arrays or on disk and not in Python lists.",
        snippet="def loader(data):\n"
        "    from torch.utils.data import DataLoader\n\n"
        "    return DataLoader(data, batch_size=32, num_workers=0)",
    ),
    Rule(
        id="out-of-memory",
        title="The machine's memory is full",
        examples=(
            "MemoryError: Unable to allocate 7.11 PiB for an array with shape (1000000000000000,) and data "
            "type float64",
            "_ArrayMemoryError: Unable to allocate 74.5 GiB for an array with shape (100000, 100000)",
            "RuntimeError: [enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate "
            "memory: you tried to allocate 4000000000000000 bytes. Error code 12 (Cannot allocate memory)",
            "OSError: [Errno 12] Cannot allocate memory",
            "ProcessLost: killed, likely out of memory",
        ),
        signs=(
            Sign(types="MemoryError _ArrayMemoryError"),
            Sign(r"DefaultCPUAllocator: (?:can't allocate|not enough) memory"),
            Sign(r"\[Errno 12\] Cannot allocate memory"),
            Sign(r"^killed, likely out of memory", "ProcessLost"),
        ),
        cause="More was asked for than the machine, or the container, has left; the system kills a process "
        "that goes beyond it. A shape that is larger than you meant, or outputs kept over all batches, are "
        "the usual reasons.",
        fix="Work in parts, keep numbers and not tensors of each batch, read large arrays with mmap_mode='r', "
        "run fewer at once (-n); on Modal ask for more: resources: {memory: 32768}.",
        snippet="def mean_of(file, rows=10_000):\n"
        "    import numpy as np\n\n"
        '    data = np.load(file, mmap_mode="r")\n'
        "    parts = range(0, len(data), rows)\n"
        "    return sum(data[i : i + rows].sum(axis=0) for i in parts) / len(data)",
    ),
    Rule(
        id="disk-full",
        title="The disk is full",
        examples=(
            "OSError: [Errno 28] No space left on device",
            "OSError: [Errno 122] Disk quota exceeded: 'model.pt'",
            "RuntimeError: PytorchStreamWriter failed writing file data/3: file write failed",
        ),
        signs=(
            Sign(r"\[Errno 28\]|No space left on device(?=$|[^\w ])", "OSError RuntimeError IOError"),
            Sign(r"\[Errno 122\]|Disk quota exceeded", "OSError RuntimeError"),
            Sign(r"PytorchStreamWriter failed writing file"),
            Sign(r"inline_container\.cc:\d{1,6}\] ?\. unexpected pos"),
        ),
        cause="There is no room left where this was written: checkpoints and the caches of hubs grow fast, "
        "and /tmp may be small.",
        fix="See with df -h which disk it is. Keep the last checkpoint alone, in runner.checkpoint_dir; move "
        "caches with HF_HOME and TORCH_HOME, temporary files with TMPDIR.",
        snippet="def save(runner, state):\n"
        "    import torch\n\n"
        '    torch.save(state, runner.checkpoint_dir / "last.pt")  # the same name each time',
    ),
    # --- hubs, keys, packages -------------------------------------------------------------------------
    Rule(
        id="gated-model",
        title="A model or data set needs access that this account does not have",
        examples=(
            "GatedRepoError: 401 Client Error. Cannot access gated repo for url "
            "https://huggingface.co/meta-llama/x/resolve/main/config.json.",
            "OSError: You are trying to access a gated repo. Make sure to have access to it at "
            "https://huggingface.co/meta-llama/x.",
            "RepositoryNotFoundError: 401 Client Error. Repository Not Found for url: "
            "https://huggingface.co/api/models/a/b. If you are trying to access a private or gated repo, make "
            "sure you are authenticated.",
            "LocalTokenNotFoundError: Token is required to call the /whoami-v2 endpoint, but no token found.",
        ),
        signs=(
            Sign(types="GatedRepoError LocalTokenNotFoundError"),
            Sign(
                r"(?:Cannot|trying to) access (?:a )?gated repo|If you are trying to access a private or gated repo"
            ),
            Sign(r"If this is a private repository, make sure to pass a token"),
            Sign(r"Token is required (?:\(|to call|but no token)"),
        ),
        cause="The owner of this model or data set asks for consent to terms, or it is private (or the name is "
        "misspelt); the hub saw no token, or one of an account without access.",
        fix="Accept the terms on its page, then log in with 'hf auth login', or set HF_TOKEN where this runs. "
        "On Modal the token comes from a secret (modal: {secrets: […]} in the plan).",
        snippet="import os\n\n"
        'assert os.environ.get("HF_TOKEN"), "set HF_TOKEN to a token of an account with access"',
    ),
    Rule(
        id="wandb-login",
        title="Weights & Biases does not know who you are",
        examples=(
            "UsageError: No API key configured. Use `wandb login` to log in.",
            "UsageError: api_key not configured (no-tty). call wandb login [your_api_key]",
            "AuthenticationError: API key must have 40+ characters, has 3.",
        ),
        signs=(
            Sign(r"No API key configured\. Use `wandb login`|call wandb(?:\.login|[ _]login)"),
            Sign(
                r"API key must (?:be|have) 40\+? characters|API key verification failed",
                "AuthenticationError ValueError",
            ),
            Sign(r"permission denied|API key", "CommError", place=r"wandb[/\\]"),
        ),
        cause="wandb was called without an API key, with one that is cut, or with one of another account.",
        fix="Run 'wandb login' once, or set WANDB_API_KEY where this runs; WANDB_MODE=offline needs none. A run "
        "that exprunner records needs no wandb.init of its own: --exp-tracker wandb.",
        snippet='import os\n\nos.environ.setdefault("WANDB_MODE", "offline")',
    ),
    Rule(
        id="api-key",
        title="An API key is missing or was refused",
        examples=(
            "OpenAIError: Missing credentials. Please pass an `api_key`, `workload_identity`, `admin_api_key`, or "
            "set the `OPENAI_API_KEY` or `OPENAI_ADMIN_KEY` environment variable.",
            "OpenAIError: The api_key client option must be set either by passing api_key to the client or by "
            "setting the OPENAI_API_KEY environment variable",
            "AuthenticationError: Error code: 401 - Incorrect API key provided: sk-…",
            "AuthenticationError: Error code: 401 - {'type': 'error', 'error': {'type': 'authentication_error', "
            "'message': 'invalid x-api-key'}}",
            'TypeError: "Could not resolve authentication method. Expected one of api_key, auth_token, or '
            'credentials to be set."',
        ),
        signs=(
            Sign(r"Missing credentials\. Please pass an `api_key`|api_key client option must be set"),
            Sign(
                r"Error code: 401|Incorrect API key|invalid x-api-key|invalid_api_key", "AuthenticationError"
            ),
            Sign(r"Could not resolve authentication method"),
            Sign(r"Incorrect API key provided|invalid x-api-key"),
            Sign(r"API key not valid\. Please pass a valid API key"),
        ),
        cause="The service got no key, or one that it does not know: not set in this shell, cut when it was "
        "copied, revoked, or of another service.",
        fix="Set the variable that the client reads (OPENAI_API_KEY, ANTHROPIC_API_KEY, …) where this runs, "
        "also in CI; on Modal it comes from a secret (modal: {secrets: […]} in the plan). Never write a key into a "
        "handler.",
        snippet="import os\n\n"
        "import pytest\n\n"
        "needs_key = pytest.mark.skipif("
        '"OPENAI_API_KEY" not in os.environ, reason="set OPENAI_API_KEY to run this"'
        ")",
    ),
    Rule(
        id="hub-cache-permissions",
        title="The cache of a hub cannot be written",
        examples=(
            "PermissionError: [Errno 13] Permission denied: '/root/.cache/huggingface/hub/models--gpt2'",
            "OSError: [Errno 30] Read-only file system: '/data/huggingface/hub/.locks'",
            "OSError: PermissionError at /root/.cache/huggingface/hub when downloading gpt2. Check cache directory "
            "permissions.",
        ),
        signs=(
            Sign(
                r"(?:\[Errno 13\]|\[Errno 30\]|Permission denied|Read-only file system).{0,300}"
                r"(?:[/\\]huggingface[/\\']|[/\\]\.cache[/\\]torch[/\\']|[/\\](?:models|datasets)--)",
            ),
            Sign(r"PermissionError at .{0,300} when downloading .{0,200} Check cache directory permissions"),
        ),
        cause="The folder of downloaded models belongs to another user, often root after a container ran, or "
        "is mounted for reading alone.",
        fix="Have HF_HOME (for torch.hub: TORCH_HOME) name a folder that this user can write to, or give the "
        "folder back: sudo chown -R $$USER ~/.cache/huggingface.",
        snippet='import os\n\nos.environ["HF_HOME"] = os.path.expanduser("~/hf-cache")  # before importing transformers',
    ),
    Rule(
        id="hub-offline",
        title="A hub cannot be reached",
        examples=(
            "LocalEntryNotFoundError: An error happened while trying to locate the file on the Hub and we cannot "
            "find the requested files in the local cache.",
            "OfflineModeIsEnabled: Cannot reach https://huggingface.co/api/models/a/b: offline mode is enabled.",
            "OSError: We couldn't connect to 'https://huggingface.co' to load the files, and couldn't find them in "
            "the cached files.",
            "ConnectionError: HTTPSConnectionPool(host='huggingface.co', port=443): Max retries exceeded with url: "
            "/gpt2/resolve/main/config.json",
            "URLError: <urlopen error [Errno -3] Temporary failure in name resolution>",
        ),
        signs=(
            Sign(types="OfflineModeIsEnabled LocalEntryNotFoundError"),
            Sign(rf"(?:couldn't connect to|Cannot reach) '?https?://{_HUB}"),
            Sign(rf"host='(?:[\w-]{{1,60}}\.){{0,3}}{_HUB}'.{{0,60}}(?:Max retries exceeded|Read timed out)"),
            Sign(
                r"\[Errno -[235]\]|Name or service not known|Temporary failure in name resolution|getaddrinfo failed",
                "URLError",  # of a download: what a library of one's own cannot resolve may be anything
            ),
            Sign(r"outgoing traffic has been disabled"),
        ),
        cause="This machine has no way to the hub, or offline mode is on, and the files are not in its cache.",
        fix="Download once where there is a network ('hf download NAME'), and take the cache along or mount it "
        "(HF_HOME); then HF_HUB_OFFLINE=1 keeps it from asking. Behind a proxy set HTTPS_PROXY.",
        snippet='import os\n\nos.environ["HF_HUB_OFFLINE"] = "1"  # before importing transformers: the cache alone',
    ),
    Rule(
        id="matplotlib-backend",
        title="Matplotlib looks for a screen",
        examples=(
            "ImportError: Cannot load backend 'TkAgg' which requires the 'tk' interactive framework, as 'headless' "
            "is currently running",
            "TclError: no display name and no $DISPLAY environment variable",
            "UserWarning: Starting a Matplotlib GUI outside of the main thread will likely fail.",
            "RuntimeError: main thread is not in main loop",
        ),
        signs=(
            Sign(r"Cannot load backend '\w{1,30}' which requires the '\w{1,20}' interactive framework"),
            Sign(r"no display name and no \$DISPLAY|couldn't connect to display", "TclError"),
            Sign(r"Starting a Matplotlib GUI outside of the main thread"),
            Sign(r"^main thread is not in main loop", "RuntimeError"),
            Sign(r"Failed to import any of the following Qt binding modules"),
            Sign(r"is non-interactive, and thus cannot be shown"),
        ),
        cause="A backend that opens windows was chosen, and here is no screen, or this is not the main thread.",
        fix="Choose the backend that draws into files, with matplotlib.use('Agg') or MPLBACKEND=Agg, and keep "
        "figures with runner.results.save_figure in the place of plt.show().",
        snippet="def draw(runner, values):\n"
        "    import matplotlib\n\n"
        '    matplotlib.use("Agg")\n'
        "    import matplotlib.pyplot as plt\n\n"
        "    figure, axes = plt.subplots()\n"
        "    axes.plot(values)\n"
        '    return runner.results.save_figure("values.png", figure)',
    ),
    Rule(
        id="library-changed",
        title="A library has changed under the code",
        examples=(
            "AttributeError: module 'numpy' has no attribute 'float'.",
            "AttributeError: `np.infty` was removed in the NumPy 2.0 release. Use `np.inf` instead.",
            "ImportError: cannot import name 'AdamW' from 'transformers' "
            "(/venv/lib/python3.12/site-packages/transformers/__init__.py)",
            "ModuleNotFoundError: No module named 'torch._six'",
            "TypeError: TrainingArguments.__init__() got an unexpected keyword argument 'evaluation_strategy'",
            "APIRemovedInV1: You tried to access openai.ChatCompletion, but this is no longer supported in "
            "openai>=1.0.0",
            "ValueError: numpy.dtype size changed, may indicate binary incompatibility.",
        ),
        signs=(
            Sign(rf"^module '{_LIBRARIES}(?:\.[\w.]{{1,100}})?' has no attribute", "AttributeError"),
            Sign(r"^`np\.\w{1,40}` was removed in the NumPy 2\.0 release", "AttributeError"),
            Sign(
                rf"^cannot import name '[\w.]{{1,100}}' from '[\w.]{{1,200}}' \(.{{0,300}}{_INSTALLED}",
                "ImportError",
            ),
            Sign(rf"^No module named '{_LIBRARIES}\.[\w.]{{1,100}}'", "ModuleNotFoundError"),
            Sign(rf"got an unexpected keyword argument '{_RENAMED}'", "TypeError"),
            Sign(rf"\b{_CLASSES}\.__init__\(\) got an unexpected keyword argument", "TypeError"),
            Sign(_OF_CLASSES, "TypeError"),
            Sign(r"got an unexpected keyword argument", "TypeError", place=_INSTALLED),
            Sign(types="APIRemovedInV1 ExpiredDeprecationError"),
            Sign(r"numpy\.dtype size changed, may indicate binary incompatibility"),
        ),
        cause="The code was written for another version of the library than the one installed: names and "
        "arguments come and go between versions. A misspelt name looks the same.",
        fix="See with 'pip show NAME' which version is there, and its release notes for what took the place; "
        "then change the code, or pin the version that it was written for.",
        snippet="import numpy as np\n\nvalues = np.zeros(3, dtype=float)  # np.float is gone since NumPy 1.24",
    ),
    Rule(
        id="missing-package",
        title="A package is not installed",
        examples=(
            "ModuleNotFoundError: No module named 'seaborn'",
            "ImportError: Missing optional dependency 'openpyxl'. Use pip or conda to install openpyxl.",
            "ImportError: LlamaTokenizer requires the SentencePiece library but it was not found in your "
            "environment.",
        ),
        signs=(
            Sign(r"^No module named '(?P<package>[\w-]{1,60})'", "ModuleNotFoundError"),
            Sign(r"Missing optional dependency '(?P<package>[\w-]{1,60})'", "ImportError"),
            Sign(
                r"requires the (?P<package>[\w-]{1,60}) library but it was not found in your environment",
                "ImportError",
            ),
            Sign(
                r"requires (?P<package>Accelerate|bitsandbytes)\b.{0,20}pip install", "ImportError ValueError"
            ),
        ),
        cause="$package is not installed for the Python that runs this; or it is a module of this project that "
        "lies where Python does not look.",
        fix="pip install $package into the same environment (the name to install can differ: scikit-learn for "
        "sklearn, opencv-python for cv2, pillow for PIL), and name it in the project's dependencies. A module of "
        "your own belongs beside the handlers, or its folder into pytest's pythonpath.",
        snippet="import pytest\n\n\n"
        "def e_x1_1(runner):\n"
        '    module = pytest.importorskip("$package")  # skipped, and says why, where it is missing\n'
        '    return {"metrics": {}, "finding": module.__version__}',
    ),
    # --- numbers --------------------------------------------------------------------------------------
    Rule(
        id="nan-loss",
        title="A loss, a gradient or an input is NaN",
        examples=(
            "ValueError: the loss is NaN at step 310",
            "RuntimeError: Function 'SqrtBackward0' returned nan values in its 0th output.",
            "ValueError: Input X contains NaN.",
            "RuntimeError: probability tensor contains either `inf`, `nan` or element < 0",
            "FloatingPointError: invalid value encountered in scalar divide",
        ),
        signs=(
            Sign(
                r"(?i)\bloss(?:es)?(?: value)?(?: is| are| was| were| became| has become| went|:| ?=) ?"
                r"(?:nan|-?inf(?:inity)?|not finite|non-?finite)(?![\w-])"
            ),
            Sign(
                r"(?i)\b(?:nan|infinite|non-?finite) (?:\w{1,20} )?loss(?:es)?(?: at| in| after| detected|[.,;:!]|$)"
            ),
            Sign(r"Function '\w{1,60}' returned nan values in its \d{1,3}th output"),
            Sign(r"^Input (?:[\w.]{1,40} )?contains (?:NaN|infinity)", "ValueError"),
            Sign(r"probability tensor contains either `inf`, `nan`"),
            Sign(
                r"to satisfy the constraint .{0,120}but found invalid values:[\s\S]{0,200}\bnan\b",
                "ValueError",
            ),
            Sign(r"(?:invalid value|overflow|divide by zero) encountered in", "FloatingPointError"),
            Sign(r"is(?:finite|nan)[\s\S]{0,400}\bnan\b", "AssertionError"),
        ),
        cause="Somewhere numbers left the finite ones: a learning rate too high, log or sqrt of 0, a division "
        "by 0, float16 that overflowed, or NaN in the data.",
        fix="Check the data for NaN first; then find the operation with "
        "torch.autograd.set_detect_anomaly(True). Clip gradients, lower the learning rate, add a small number "
        "inside log, sqrt and divisions, use bfloat16 in the place of float16.",
        snippet="def step(model, loss, optimizer):\n"
        "    import torch\n\n"
        "    loss.backward()\n"
        "    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0, error_if_nonfinite=True)\n"
        "    optimizer.step()",
    ),
    Rule(
        id="not-deterministic",
        title="An operation has no deterministic form",
        examples=(
            "RuntimeError: max_unpooling2d_forward_out does not have a deterministic implementation, but you set "
            "'torch.use_deterministic_algorithms(True)'.",
            "RuntimeError: Deterministic behavior was enabled with either `torch.use_deterministic_algorithms(True)` "
            "or `at::Context::setDeterministicAlgorithms(true)`, but this operation is not deterministic because it "
            "uses CuBLAS and you have CUDA >= 10.2.",
        ),
        signs=(
            Sign(r"does not have a deterministic implementation, but you set"),
            Sign(r"Deterministic behavior was enabled with either|CUBLAS_WORKSPACE_CONFIG=:"),
        ),
        cause="torch.use_deterministic_algorithms(True) refuses operations whose result can differ from run to "
        "run; cuBLAS needs a setting of its own to be among those that cannot.",
        fix="For cuBLAS set CUBLAS_WORKSPACE_CONFIG=:4096:8 before the run. For the others choose another "
        "operation, or warn_only=True and several seeds, which show how far results spread.",
        snippet="import os\n\n"
        'os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # before CUDA is first used\n\n\n'
        "def deterministic():\n"
        "    import torch\n\n"
        "    torch.use_deterministic_algorithms(True, warn_only=True)",
    ),
    Rule(
        id="cannot-pickle",
        title="Something that cannot be pickled is sent to another process or saved",
        examples=(
            "AttributeError: Can't pickle local object 'main.<locals>.<lambda>'",
            "AttributeError: Can't get local object 'main.<locals>.collate'",
            "PicklingError: Can't pickle <function <lambda> at 0x7f>: attribute lookup <lambda> on __main__ failed",
            "TypeError: cannot pickle '_thread.lock' object",
        ),
        signs=(
            Sign(r"^Can't (?:pickle|get) local object"),
            Sign(r"Can't pickle <", "PicklingError"),
            Sign(r"^cannot pickle '[\w. -]{1,80}' object", "TypeError"),
        ),
        cause="Pickle stores functions and classes by name: a lambda, or what is defined inside a function, has "
        "none that another process finds. Locks, generators and open files cannot be stored at all.",
        fix="Define it at the top of a module (functools.partial fills in arguments), open files and "
        "connections in the worker, and save model.state_dict() and not the model.",
        snippet="from functools import partial\n\n\n"
        "def scaled(value, factor):\n"
        "    return value * factor\n\n\n"
        "double = partial(scaled, factor=2)  # in the place of: lambda value: value * 2",
    ),
    Rule(
        id="dtype-mismatch",
        title="Tensors have different dtypes",
        examples=(
            "RuntimeError: expected scalar type Float but found Double",
            "RuntimeError: mat1 and mat2 must have the same dtype, but got Double and Float",
            "RuntimeError: expected m1 and m2 to have the same dtype, but got: double != float",
            "RuntimeError: Input type (double) and bias type (float) should be the same",
            "RuntimeError: Expected tensor for argument #1 'indices' to have one of the following scalar types: "
            "Long, Int; but got torch.FloatTensor instead (while checking arguments for embedding)",
        ),
        signs=(
            Sign(rf"expected scalar type {_SCALAR} but (?:found|got) {_SCALAR}"),
            Sign(r"mat1 and mat2 must have the same dtype|expected m1 and m2 to have the same dtype"),
            Sign(r"expected both vectors to have same dtype|to have the same dtype, but got"),
            Sign(r"Input type \([\w.]{1,30}\) and \w{1,10} type \([\w.]{1,30}\) should be the same"),
            Sign(r"to have (?:one of the following scalar types|scalar type)[:\w ,]{1,60}; but got"),
            Sign(r"expected target dtype to be|could not infer output dtype\. Input dtype must be"),
            Sign(r"input dtype \(torch\.\w{1,20}\) does not match weight dtype"),
            Sign(r"^result type \w{1,20} can't be cast to the desired output type"),
        ),
        cause="One tensor is float64 and another float32, or floats came where whole numbers are asked for. "
        "Arrays of NumPy are float64 as they come, models float32; labels and token ids must be int64.",
        fix="Convert the input where it is made: .float() for data, .long() for labels and ids; for a model in "
        "bfloat16, .to(model.dtype).",
        snippet="def tensors(features, labels):\n"
        "    import torch\n\n"
        "    return torch.from_numpy(features).float(), torch.as_tensor(labels).long()",
    ),
    Rule(
        id="shape-mismatch",
        title="Shapes do not fit together",
        examples=(
            "RuntimeError: mat1 and mat2 shapes cannot be multiplied (2x3 and 4x2)",
            "RuntimeError: The size of tensor a (3) must match the size of tensor b (4) at non-singleton dimension 1",
            "RuntimeError: Sizes of tensors must match except in dimension 0. Expected size 3 but got size 4 for "
            "tensor number 1 in the list.",
            "RuntimeError: shape '[4]' is invalid for input of size 6",
            "ValueError: operands could not be broadcast together with shapes (2,3) (2,4)",
            "ValueError: cannot reshape array of size 6 into shape (4,)",
            "ValueError: Found input variables with inconsistent numbers of samples: [3, 2]",
        ),
        signs=(
            Sign(r"mat1 and mat2 shapes cannot be multiplied|^size mismatch, got (?:input|mat|vec|m1|a) "),
            Sign(r"The size of tensor a \(\d{1,20}\) must match the size of tensor b"),
            Sign(
                r"Sizes of tensors must match except in dimension|stack expects each tensor to be equal size"
            ),
            Sign(r"Expected size for first two dimensions of batch2 tensor"),
            Sign(r"Given groups=\d{1,6}, weight of size .{1,80}, expected input"),
            Sign(r"shape '\[[-\d, ]{0,100}\]' is invalid for input of size"),
            Sign(r"Expected input batch_size \(\d{1,20}\) to match target batch_size"),
            Sign(r"Using a target size \(.{1,80}\) that is different to the input size"),
            Sign(r"operands could not be broadcast together|could not broadcast input array from shape"),
            Sign(r"has a mismatch in its core dimension|^shapes \(.{1,80}\) and \(.{1,80}\) not aligned"),
            Sign(r"^cannot reshape array of size \d"),
            Sign(r"^all (?:the )?input arrays? (?:dimensions except|must have (?:the )?same)"),
            Sign(r"Found input variables with inconsistent numbers of samples"),
        ),
        cause="An operation got shapes that do not go together: the features of the input are not those that "
        "the layer was made for, a batch dimension is missing, or something was transposed or flattened.",
        fix="Print the shapes before the line that failed. Flatten all but the batch (x.flatten(1)), add a "
        "dimension with x.unsqueeze(0), and make the layer for the size that comes.",
        snippet="def probe(features, classes):\n"
        "    import torch\n\n"
        "    return torch.nn.Sequential(torch.nn.Flatten(1), torch.nn.Linear(features, classes))",
    ),
    Rule(
        id="process-crashed",
        title="The process crashed outside of Python",
        examples=("ProcessLost: crashed: SIGSEGV", "ProcessLost: crashed: SIGABRT"),
        signs=(Sign(r"^crashed: SIG(?:SEGV|ABRT|ILL|FPE)", "ProcessLost"),),
        cause="A library written in C ended the process: two libraries that do not go together, a GPU driver, "
        "an index beyond the end of an array, or a fork while threads were at work.",
        fix="Run it once under python -X faulthandler, which shows the Python line; look for versions that were "
        "built for each other; try OMP_NUM_THREADS=1, and num_workers=0 in DataLoaders.",
        snippet="import faulthandler\n\nfaulthandler.enable()",
    ),
)
